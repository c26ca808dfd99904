"""Which limit an experiment has, or why none."""

import pytest

from ipcore.limits.kinds import limit_of
from ipcore.limits.limit import Limit, NoLimit
from ipcore.models import ResidualMlp
from ipcore.theory import preset
from ipcore.theory.gauge import shift


@pytest.mark.parametrize(
    ("name", "L", "phi", "kind"),
    [
        ("ip-llr", 3, "relu", "particles"),
        ("ip-llr", 6, "leaky_relu", "particles"),
        ("ip-llr", 3, "abs", "particles"),
        ("hp", 3, "gelu", "particles"),
        ("hpz", 2, "tanh", "particles"),
        ("mup", 1, "tanh", "particles"),
        ("mup-yang-hu", 1, "relu", "particles"),
        ("mfp", 1, "sigmoid", "particles"),
        ("ip", 2, "relu", "particles"),
        ("ntk", 3, "sin", "kernel"),
        ("sp-stable", 2, "elu", "kernel"),
        ("up:1/4", 2, "relu", "kernel"),
        ("up:1/2", 2, "relu", "kernel"),
    ],
)
def test_limits(name, L, phi, kind):
    found = limit_of(preset(name, L), phi)
    assert isinstance(found, Limit)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("name", "L", "phi", "reason", "says"),
    [
        ("mup", 2, "relu", "initial_weights", "deferred weights"),
        ("ip", 3, "relu", "constant", "the network is constant: f stays 0"),
        ("ip", 4, "gelu", "constant", "ip-llr"),
        ("ip-llr", 3, "gelu", "activation", "hpz"),
        ("ip-llr", 3, "relu^2", "activation", "1-homogeneous"),
        ("ip-llr", 3, "tanh", "activation", "tanh"),
        ("ip-bias", 2, "relu", "unknown", "deferred"),
        ("ip-non-centered", 2, "relu", "unknown", "mean"),
        ("sp", 2, "relu", "unstable", "layers 2, 3"),
        ("sp-large", 2, "relu", "unstable", "diverges"),
    ],
)
def test_refusals_say_why_and_what_instead(name, L, phi, reason, says):
    found = limit_of(preset(name, L), phi)
    assert isinstance(found, NoLimit)
    assert found.reason == reason
    assert says in found.sentence


def test_adam_is_refused_by_name():
    found = limit_of(preset("mup", 1, optimizer="adam"), "relu", "adam")
    assert (found.reason, "adam" in found.sentence) == ("optimizer", True)


def test_other_models_are_refused():
    assert limit_of(preset("ntk", 3), "relu", model=ResidualMlp()).reason == "model"


def test_calibration_has_no_limit_where_its_rates_grow():
    assert limit_of(preset("ip-llr", 3), "identity", calibrated=True).reason == "calibration"
    assert isinstance(limit_of(preset("ip-llr", 3), "identity"), Limit)
    assert limit_of(preset("ip", 2), "relu", calibrated=True).reason == "calibration"
    assert limit_of(preset("ntk", 3), "relu", calibrated=True).reason == "calibration"
    assert isinstance(limit_of(preset("hp", 3), "tanh", calibrated=True), Limit)


def test_decay_moves_a_kernel():
    assert limit_of(preset("ntk", 3), "relu", weight_decay=0.1).reason == "decay"
    assert isinstance(limit_of(preset("ip-llr", 3), "relu", weight_decay=0.1), Limit)


def test_odd_activations_are_told_of_their_first_step():
    assert "odd" in limit_of(preset("hpz", 3), "tanh").notes[0]
    assert limit_of(preset("hpz", 2), "tanh").notes == ()
    assert limit_of(preset("hpz", 3), "gelu").notes == ()


def test_only_what_is_left_of_an_initial_matrix_revives_neurons():
    revives = {name: limit_of(preset(name, 3), "relu").revives for name in ("hp", "hpz", "ip-llr")}
    assert revives == {"hp": True, "hpz": False, "ip-llr": True}
    assert not limit_of(preset("hp", 3), "gelu").revives
    assert not limit_of(preset("ip-llr", 3), "leaky_relu").revives


def test_naive_ip_with_two_hidden_layers_moves_its_second_layer_first():
    found = limit_of(preset("ip", 2), "relu")
    assert (found.first, found.later) == ((False, True, False), (True, True, True))


def test_the_small_gradients_of_ip_llr_leave_nothing_in_velocities():
    """Its first gradients are m^(-(L-1)/2) and, in hidden layers, m^(1-L/2) of later ones."""
    carries = {L: limit_of(preset("ip-llr", L), "relu").carries for L in (1, 2, 3)}
    assert carries == {1: (True, True), 2: (False, True, False), 3: (False,) * 4}
    assert limit_of(preset("hp", 3), "relu").carries == (True,) * 4


@pytest.mark.parametrize("name", ["ip-llr", "hpz", "ntk", "mup", "sp", "up:1/4"])
def test_a_gauge_changes_nothing(name):
    p = preset(name, 3)
    moved = shift(p, ["1/2", "1/3", "-1"])
    assert limit_of(moved, "relu") == limit_of(p, "relu")
