"""Rules of optimizers, schedules, validation sets and probes."""

import pytest

from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import optimizer_settings, pack_config
from ipserver.request.defaults import with_defaults
from ipserver.request.grid import check_grid
from ipserver.request.limits import limits_with
from ipserver.request.problems import Problems
from ipserver.request.validate import check_create
from tests.ipserver.request.requests import CAPACITY, GRID, grid, spec, violations

SPEC = "experiment.spec"
PROBES = f"{SPEC}.record.probes"
# Neither IP-LLR nor its calibration is defined with Adam.
ADAM = {"grid__parameterizations": [{"preset": "mup"}]}


def accepted(request):
    return check_create(request, limits_with(), CAPACITY)


def test_settings_have_the_defaults_of_their_optimizer_and_no_others():
    momentum = accepted(spec(optimizer={"name": "momentum"})).spec.optimizer
    assert momentum == pb.Optimizer(name="momentum", momentum=0.9)
    adam = accepted(spec(optimizer={"name": "adam"}, **ADAM)).spec.optimizer
    assert adam == pb.Optimizer(name="adam", beta1=0.9, beta2=0.999, epsilon=1e-8)
    given = {"name": "adamw", "beta1": 0, "epsilon": 0, "weight_decay": 0.1}
    adamw = accepted(spec(optimizer=given, **ADAM)).spec.optimizer
    assert adamw == pb.Optimizer(name="adamw", beta1=0, beta2=0.999, epsilon=0, weight_decay=0.1)
    muon = accepted(spec(optimizer={"name": "muon-rms", "weight_decay": 0.1}, **ADAM)).spec.optimizer
    assert muon == pb.Optimizer(name="muon-rms", momentum=0.9, newton_schulz_steps=5, weight_decay=0.1)
    muon.newton_schulz_steps = 3
    assert optimizer_settings(muon) == {"momentum": 0.9, "newton_schulz_steps": 3, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("optimizer", "wrong"),
    [
        ({"momentum": 0.9}, {"momentum": "is not used by 'sgd' but by momentum"}),
        ({"beta1": 0.9, "epsilon": 0}, {"beta1": "by adam, adamw", "epsilon": "by adam, adamw"}),
        ({"name": "momentum", "beta2": 0.5}, {"beta2": "not used by 'momentum'"}),
        (
            {"name": "adam", "weight_decay": 0.1},
            {"weight_decay": "but by sgd, momentum, adamw, signum, lion"},
        ),
        ({"name": "momentum", "momentum": 1}, {"momentum": "at least 0 and less than 1, not 1"}),
        ({"name": "adam", "beta1": -0.1, "beta2": 1.5}, {"beta1": "not -0.1", "beta2": "not 1.5"}),
        ({"name": "adam", "beta1": "NaN"}, {"beta1": "not nan"}),
        ({"name": "adam", "epsilon": -1e-8}, {"epsilon": "must be 0 or a number"}),
        ({"name": "adam", "epsilon": "Infinity"}, {"epsilon": "1e-36 .. 1e+36"}),
        ({"weight_decay": -1}, {"weight_decay": "at least 0, not -1"}),
        ({"weight_decay": "NaN"}, {"weight_decay": "at least 0, not nan"}),
        # The largest rate is 0.2, so 1 - eta lambda < 0 beyond 5.
        ({"weight_decay": 5.1}, {"weight_decay": "at most 5"}),
        ({"name": "muon", "newton_schulz_steps": 0}, {"newton_schulz_steps": "must lie in 1 .. 16, not 0"}),
        ({"name": "muon", "beta1": 0.5, "epsilon": 0}, {"beta1": "not used by", "epsilon": "not used by"}),
        ({"name": "lion", "newton_schulz_steps": 5}, {"newton_schulz_steps": "but by muon, muon-unscaled"}),
        ({"name": "adamm", "beta1": 7}, {"name": "did you mean 'adam'"}),
    ],
)
def test_wrong_optimizers(optimizer, wrong):
    presets = ADAM if optimizer.get("name") in ("adam", "muon", "lion") else {}
    found = violations(spec(optimizer=optimizer, **presets))
    assert set(found) == {f"{SPEC}.optimizer.{name}" for name in wrong}
    for name, text in wrong.items():
        assert text in found[f"{SPEC}.optimizer.{name}"]


def test_a_weight_decay_that_keeps_signs_is_accepted():
    assert accepted(spec(optimizer={"weight_decay": 5})).spec.optimizer.weight_decay == 5


def test_schedules_have_the_defaults_of_their_kind():
    assert not accepted(spec()).spec.HasField("schedule")
    assert accepted(spec(schedule={})).spec.schedule == pb.Schedule(name="constant")
    cosine = accepted(spec(schedule={"name": "cosine", "warmup_steps": 19})).spec.schedule
    assert cosine == pb.Schedule(name="cosine", warmup_steps=19, final_fraction=0.0)
    step = accepted(spec(schedule={"name": "step", "milestones": [5, 19]})).spec.schedule
    assert step == pb.Schedule(name="step", milestones=[5, 19], decay=0.1)


@pytest.mark.parametrize(
    ("schedule", "wrong"),
    [
        ({"name": "cosin"}, {"name": "did you mean 'cosine'"}),
        ({"warmup_steps": 20}, {"warmup_steps": "0 .. 19 (fewer than the 20 updates), not 20"}),
        ({"warmup_steps": -1}, {"warmup_steps": "not -1"}),
        ({"final_fraction": 0.5}, {"final_fraction": "is not used by 'constant' but by linear, cosine"}),
        ({"name": "linear", "final_fraction": 1.5}, {"final_fraction": "0 .. 1, not 1.5"}),
        ({"name": "cosine", "final_fraction": "NaN"}, {"final_fraction": "not nan"}),
        ({"name": "linear", "milestones": [3], "decay": 0.5}, {"milestones": "by step", "decay": "by step"}),
        ({"name": "step"}, {"milestones": "give at least one"}),
        (
            {"name": "step", "milestones": [5, 5]},
            {"milestones[1]": "must be greater than the 5 before it, not 5"},
        ),
        ({"name": "step", "milestones": [0, 7, 20]}, {"milestones[0]": "not 0", "milestones[2]": "not 20"}),
        ({"name": "step", "milestones": [5], "decay": 1}, {"decay": "between 0 and 1, not 1"}),
        ({"name": "step", "milestones": [5], "decay": 0}, {"decay": "not 0"}),
        ({"name": "step", "milestones": [1] * 1001}, {"milestones": "has 1,001 values"}),
    ],
)
def test_wrong_schedules(schedule, wrong):
    found = violations(spec(schedule=schedule))
    assert set(found) == {f"{SPEC}.schedule.{name}" for name in wrong}
    for name, text in wrong.items():
        assert text in found[f"{SPEC}.schedule.{name}"]


def test_a_warm_up_that_shrinks_a_large_first_step_is_warned_of():
    (warning,) = accepted(spec(schedule={"warmup_steps": 3})).warnings
    assert "the first update has 1/4 of its rate, but ip-llr needs a large first step" in warning
    assert accepted(spec(schedule={"warmup_steps": 3}, **ADAM)).warnings == ()
    assert accepted(spec(schedule={"name": "cosine"})).warnings == ()


def test_a_validation_set_leaves_enough_to_train_on():
    # digits has 1,437 training examples; batches have 32.
    assert accepted(spec(validation_size=1405)).spec.validation_size == 1405
    found = violations(spec(validation_size=1406))
    assert set(found) == {f"{SPEC}.batch_size"}
    assert (
        "32 is more than the 31 training examples outside the validation set" in found[f"{SPEC}.batch_size"]
    )
    assert "(31 of 1,437)" in found[f"{SPEC}.batch_size"]
    for size in (1437, -1):
        assert set(violations(spec(validation_size=size))) == {f"{SPEC}.validation_size"}
    # An error that does not depend on the validation set is reported once.
    assert set(violations(spec(batch_size=1438, validation_size=5))) == {f"{SPEC}.batch_size"}


@pytest.mark.parametrize(
    ("probes", "wrong"),
    [
        ({"quantities": [], "interval": 5}, {"quantities": "coordinates"}),
        ({"quantities": ["coordinate"], "interval": 5}, {"quantities[0]": "did you mean 'coordinates'"}),
        ({"quantities": ["ranks", "ranks"], "interval": 5}, {"quantities[1]": "twice"}),
        # The grid has 2 and 4 hidden layers.
        ({"quantities": ["ranks"], "steps": [0], "layers": [3, 4]}, {"layers[1]": "with 2 hidden layers"}),
        ({"quantities": ["kernels"], "steps": [0], "layers": [3]}, {"quantities[0]": "(L=2)"}),
        ({"quantities": ["ranks"], "steps": [0, 21]}, {"steps[1]": "21"}),
        ({"quantities": ["ranks"]}, {"steps": "interval"}),
        ({"quantities": ["ranks"], "interval": -1}, {"interval": "not -1"}),
        ({"quantities": ["ranks"], "steps": [0], "examples": 1438}, {"examples": "1437"}),
        ({"quantities": ["ranks"], "steps": [0], "examples": -1}, {"examples": "at least 1"}),
    ],
)
def test_wrong_probes(probes, wrong):
    found = violations(spec(record={"probes": probes}))
    assert set(found) == {f"{PROBES}.{name}" for name in wrong}
    for name, text in wrong.items():
        assert text in found[f"{PROBES}.{name}"]


def test_probes_look_at_what_is_trained_on():
    probes = {"quantities": ["coordinates"], "interval": 5, "examples": 1400}
    assert accepted(spec(record={"probes": probes})).spec.record.probes.examples == 1400
    found = violations(spec(record={"probes": probes}, validation_size=100))
    assert set(found) == {f"{PROBES}.examples"}
    del probes["examples"]
    assert accepted(spec(record={"probes": probes})).spec.record.probes.examples == 64


def test_what_is_recorded_is_bounded():
    # 64 runs; 20 training losses and accuracies, test loss and accuracy at steps 0 and 20: 44 points each.
    request = spec(record={"metrics_interval": 1})
    check_create(request, limits_with(max_points=64 * 44), CAPACITY)
    found = violations(request, limits=limits_with(max_points=64 * 44 - 1))
    assert set(found) == {f"{SPEC}.record"}
    assert "asks for up to 2,816 metric points but one experiment may have 2,815" in found[f"{SPEC}.record"]


def test_powers_of_relu_are_activations_from_one_on():
    accepted(grid(activations=["relu^2", "relu^3/2", "leaky_relu", "sin"]))
    found = violations(grid(activations=["relu^1/2", "relu^x", "relu^3/0", "relu^" + "2" * 5000, "relu^p"]))
    assert set(found) == {f"{GRID}.activations[{i}]" for i in range(5)}
    assert "p must be at least 1" in found[f"{GRID}.activations[0]"]
    assert max(map(len, found.values())) < 400


def test_epsilon_exponents_belong_to_adam():
    zeros = ["0"] * 3
    entry = {"label": "mine", "exponents": {"a": zeros, "b": zeros, "c": zeros, "d": zeros}}
    path = f"{GRID}.parameterizations[0].exponents"
    found = violations(grid(parameterizations=[entry]))
    assert set(found) == {f"{path}.d"}
    assert "adam and adamw" in found[f"{path}.d"]
    adam = {"optimizer": {"name": "adam"}}
    accepted(spec(**adam, grid__parameterizations=[entry]))
    entry["exponents"] |= {"d": ["0", "x", "0"], "d_first_step": ["0"]}
    found = violations(spec(**adam, grid__parameterizations=[entry]))
    assert set(found) == {f"{path}.d[1]", f"{path}.d_first_step"}


def test_calibration_is_of_gradient_steps_without_biases_of_their_own():
    path = f"{GRID}.parameterizations[0].calibration"
    calibrated = {"calibration": {}}
    found = violations(
        spec(optimizer={"name": "adam"}, grid__parameterizations=[calibrated | {"preset": "ip"}])
    )
    assert set(found) == {path}
    assert "with adam an update has the size of its rate" in found[path]
    found = violations(grid(parameterizations=[calibrated | {"preset": "ip-bias"}]))
    assert set(found) == {path}
    assert "biases with exponents of their own" in found[path]
    accepted(
        spec(optimizer={"name": "momentum"}, grid__parameterizations=[calibrated | {"preset": "ip-llr"}])
    )


def test_adams_numbers_must_be_held_by_training():
    # Widths 16 = 2^4 and 32 = 2^5, batches of 2^5, 1e36 = 2^119.6. Rates of Adam are 0.2 m^(-c-a),
    # gradients are multiplied by m^(d-a) / B, with the d of the step.
    adam = {"optimizer": {"name": "adam"}}
    zeros = ["0"] * 3

    def wrong(**lists):
        entry = {"label": "mine", "exponents": {"a": zeros, "b": zeros, "c": zeros} | lists}
        request = spec(**adam, grid__parameterizations=[entry])
        problems = Problems()
        check_grid(with_defaults(request.experiment.spec), GRID, limits_with(), problems)
        return {found.field.rpartition(".")[2] for found in problems.found}

    assert wrong(c=["0", "-24", "0"]) == set()
    assert wrong(c=["0", "-25", "0"]) == {"c"}
    assert wrong(d=["0", "24", "-22"]) == set()
    assert wrong(d=["0", "25", "0"]) == wrong(d=["0", "0", "-23"]) == {"d"}
    assert wrong(d=zeros, d_first_step=["0", "24", "-22"]) == set()
    assert wrong(d=zeros, d_first_step=["0", "25", "0"]) == {"d_first_step"}
    assert wrong(d=zeros, d_first_step=["0", "0", "-23"]) == {"d_first_step"}


def test_precisions():
    for request, precision in (
        (spec(), "fp32"),
        (spec(precision="bf16"), "bf16"),
        (spec(precision="tf32", resources={"gpus": 1}), "tf32"),
    ):
        checked = accepted(request)
        assert {pack_config(checked.spec, run).precision for run in checked.runs} == {precision}
    # Fields that are not given stay out of the stored spec, so earlier hashes stay valid.
    assert accepted(spec()).spec.precision == ""


def test_wrong_precisions():
    field = f"{SPEC}.precision"
    assert "did you mean 'bf16'" in violations(spec(precision="bf61"))[field]
    assert "resources.gpus" in violations(spec(precision="tf32"))[field]
