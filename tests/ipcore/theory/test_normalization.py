"""Normalized preactivations: hand-worked sizes, invariance under scales, measured networks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.analysis import Samples, fit_slope
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.models import Mlp, ResidualMlp
from ipcore.theory import (
    Alignment,
    Parameterization,
    Regime,
    Reweighting,
    TheoryError,
    analyze,
    complete,
    custom,
    depth_exponents,
    isolated_changes,
    largest_stable_rate,
    preset,
)
from ipcore.theory.calculus import Propagation
from ipcore.theory.rules import rules
from ipcore.training.trainer import Trainer
from tests.ipcore.theory.brute_force import brute_force

HALF = Fraction(1, 2)


def ip(c: str) -> Parameterization:
    """IP of three layers with rates m^1 but in hidden layers."""
    return custom(3, a=["0", "1", "1"], b=["0"] * 3, c=["-1", c, "-1"])


def test_derivatives_of_ip_by_hand():
    """h = 0, -1/2, -1/2 and f = -1/2, since y is of order 1 everywhere. Back: dy^3 = -1, so dh^3 = -1/2;
    dy^2 = 1/2 - 1 - 1/2 = -1, dh^2 = -1/2; dy^1 = -1 = dh^1."""
    run = Propagation(ip("-1"), replace(rules("sgd", "relu", "cross_entropy"), normalized=True))
    assert run.forward(0).h == (0, -HALF, -HALF, -HALF)
    run.backward(0)
    assert run.dh == [-1, -HALF, -HALF, 0]


@pytest.mark.parametrize(("c", "changes"), [("-1", (0, -HALF, -HALF)), ("-2", (0, HALF, HALF))])
def test_first_updates_of_ip_by_hand(c, changes):
    """h^1: 1 - 1 = 0. Hidden: -c - 2 - 1/2 + 1; W_0 passes on a change of y^1 of order 1 as 1/2 - 1."""
    found = analyze(ip(c), normalization="rms")
    assert found.steps[1].h_change == changes
    assert (found.steps[1].f, found.steps[1].f_change) == (0, 0)
    assert found.regime is Regime.FEATURE_LEARNING  # trivial without normalization
    assert found.settled
    assert any("become larger than they started" in note for note in found.notes) is (c == "-2")


EIGHTHS = st.integers(-16, 16).map(lambda e: Fraction(e, 8))


@given(
    st.integers(1, 3),
    st.sampled_from(["sgd", "sign"]),
    st.sampled_from(["relu", "tanh", "softplus"]),
    st.data(),
)
def test_the_scale_of_a_normalized_layer_is_a_rate(L, optimizer, activation, data):
    """With W^l m^t times as large y stays, dh^l is m^-t times as large, and the rate m^2t (signs: m^t) makes
    the update relative to W^l what it was. Independent of how the calculus comes to its sizes."""
    a, b, c, by = (data.draw(st.lists(EIGHTHS, min_size=L + 1, max_size=L + 1)) for _ in range(4))
    by[-1] = Fraction(0)  # the output is not normalized
    times = 1 if optimizer == "sign" else 2
    p = custom(L, a=a, b=b, c=c)
    scaled = custom(
        L,
        a=a,
        b=[e - t for e, t in zip(b, by, strict=True)],
        c=[e - times * t for e, t in zip(c, by, strict=True)],
    )
    setting = {"optimizer": optimizer, "activation": activation, "normalization": "rms"}
    one, two = analyze(p, **setting), analyze(scaled, **setting)
    assert (one.regime, one.settled, one.features) == (two.regime, two.settled, two.features)
    assert len(one.steps) == len(two.steps)
    for first, second in zip(one.steps, two.steps, strict=True):
        assert (first.f, first.f_change, first.exact) == (second.f, second.f_change, second.exact)
        for here, there in zip(first.h, second.h, strict=True):
            assert (here is None) == (there is None)
        assert [h + t for h, t in zip(first.h, by, strict=False)] == list(second.h)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.booleans(), st.booleans(), st.data())
def test_sizes_are_those_of_an_oracle(L, sign, mse, data):
    """The rules written again without the package, for ReLU: multiples of 1/8 of size at most 3."""
    eighths = st.integers(-24, 24).map(lambda e: Fraction(e, 8))
    a, b, c = (data.draw(st.lists(eighths, min_size=L + 1, max_size=L + 1)) for _ in range(3))
    records = brute_force(a, b, c, steps=200, sign=sign, mse=mse, normalized=True)
    found = analyze(
        custom(L, a=a, b=b, c=c),
        optimizer="sign" if sign else "sgd",
        loss="mse" if mse else "cross_entropy",
        normalization="rms",
    )
    for step, (h, change) in zip(found.steps, records, strict=False):
        assert (*step.h, step.f) == tuple(h)
        if step.step:
            assert (*step.h_change, step.f_change) == tuple(change)
    changes = [change for _, change in records[1:]]
    grows = any(h[-1] > 0 for h, _ in records)
    features = any(change[i] >= records[0][0][i] for change in changes for i in range(L))
    expected = (
        (Regime.UNSTABLE if mse else Regime.CONTROLLED_DIVERGENCE) if grows
        else Regime.TRIVIAL if all(change[-1] < 0 for change in changes)
        else Regime.FEATURE_LEARNING if features
        else Regime.OPERATOR if sign else Regime.KERNEL
    )  # fmt: skip
    assert found.regime is expected


def test_only_the_output_can_grow():
    """SP with c = 0: the readout moves f by m, controlled if the loss has a bounded derivative."""
    sp = preset("sp", 3)
    assert analyze(sp, normalization="rms").regime is Regime.CONTROLLED_DIVERGENCE
    assert analyze(sp).regime is Regime.UNSTABLE
    unstable = analyze(sp, loss="mse", normalization="rms")
    assert unstable.regime is Regime.UNSTABLE
    assert unstable.reason.startswith("the output f is of order m at step 1")
    # The same whatever the alignment of later steps; nothing more is looked at.
    rates = custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["-3", "-3", "-1"])
    doubtful = analyze(rates, loss="mse", activation="sigmoid", normalization="rms")
    assert (doubtful.regime, len(doubtful.steps)) == (Regime.UNSTABLE, 2)


@pytest.mark.parametrize("name", ["hp", "hpz"])
def test_reweighted_matrices_by_hand(name):
    """muP's first update makes h^l of order 1 by itself, so layers stay so without W_0. With tanh x_1^2 has
    then forgotten x_0^2, and the update of W^3 makes m^-1/2: hidden from f, but not from gradients."""
    found = analyze(preset(name, 3), normalization="rms")
    assert (found.regime, found.settled) == (Regime.FEATURE_LEARNING, True)
    assert all((s.h, s.f) == ((0, 0, 0), 0) for s in found.steps[1:])
    tanh = analyze(preset(name, 3), activation="tanh", normalization="rms")
    assert (tanh.regime, tanh.steps[1].h, tanh.steps[1].f) == (Regime.MEASURE, (0, 0, -HALF), 0)


def test_a_matrix_that_counts_less_is_hidden():
    """At rates too small to learn, m^-1/2 of W^2 gives the same y^2: f stays, though h^2 becomes smaller."""
    p = custom(2, a=["0"] * 3, b=["0", "1/2", "1"], c=["9"] * 3)
    less = replace(p, reweightings=(Reweighting(1, (Fraction(0), HALF, Fraction(0))),))
    plain, after = (analyze(q, normalization="rms").steps[1] for q in (p, less))
    assert (after.h, plain.h) == ((0, -HALF), (0, 0))
    assert (after.f, after.f_change) == (plain.f, plain.f_change)


@pytest.mark.parametrize("name", ["mup", "ntk"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_layers_of_order_one_keep_their_regime(name, activation, optimizer):
    setting = {"optimizer": optimizer, "activation": activation}
    p = preset(name, 4, optimizer=optimizer)
    plain, normalized = (analyze(p, normalization=kind, **setting) for kind in ("none", "rms"))
    assert (plain.regime, plain.features) == (normalized.regime, normalized.features)
    assert normalized.source.endswith("with normalized preactivations")


def test_alignment_is_in_doubt_where_updates_outgrow_an_odd_activation():
    assert analyze(ip("-2"), activation="tanh", normalization="rms").regime is Regime.MEASURE
    # Those whose activations have a mean at order 1 stay aligned, and so does what is not outgrown.
    assert analyze(ip("-2"), activation="gelu", normalization="rms").regime is Regime.FEATURE_LEARNING
    assert analyze(ip("-1"), activation="tanh", normalization="rms").regime is Regime.FEATURE_LEARNING


def test_residual_blocks_with_normalization_by_hand():
    """IP, blocks of one matrix: the stream is of order 1, branches m^-1/2; dh = -1 everywhere, so a branch's
    matrix with c = -2 moves it by 2 - 2 - 1 + 0 + 1 + 0 = 0, as large as the stream."""
    found = analyze(preset("ip", 4), normalization="rms", block_matrices=1)
    assert found.steps[0].h == (0,) * 4
    assert found.steps[1].h_change == (0,) * 4
    assert found.source.endswith("with sums of residual blocks and normalized preactivations")


@pytest.mark.parametrize(("alpha", "said"), [
    ("1/2", "Depth-muP"), ("1", "CompleteP"), ("0", "which normalization hides from the blocks: measure"),
])  # fmt: skip
def test_powers_of_the_depth_are_as_published(alpha, said):
    found = depth_exponents(alpha, normalization="rms")
    assert said in found.summary
    if alpha != "0":
        assert found.summary == depth_exponents(alpha).summary


def test_what_is_not_covered_is_named():
    p = preset("mup", 3)
    bias = preset("ip-bias", 3).biases
    mean = preset("ip-non-centered", 3)
    for call in (
        lambda: complete(p.a, p.b, pareto=True, normalization="rms"),
        lambda: complete(mean.a, mean.b, mean=mean.mean, normalization="rms"),
        lambda: largest_stable_rate(mean, normalization="rms"),
        lambda: analyze(mean, normalization="rms"),
        lambda: analyze(replace(preset("hp", 3), biases=bias), normalization="rms"),
    ):
        with pytest.raises(TheoryError, match=r"not covered: .*normalized preactivations") as raised:
            call()
        assert raised.value.field == "normalization"
    two = (Alignment.of(3, forward="1/2"), Alignment.of(3))
    with pytest.raises(TheoryError, match="two bounds with normalized preactivations"):
        analyze(p, alignment=two, normalization="rms")
    for wrong in ("RMS", None, True, ["rms"]):
        with pytest.raises(TheoryError) as raised:
            analyze(p, normalization=wrong)
        assert raised.value.field == "normalization"


WIDTHS, SEEDS = (64, 128, 256, 512), range(3)
# The last number: layers whose whole change shows its exponent at these widths. Above a layer that an update
# outgrows x_t is aligned with x_0 by a constant that still falls there.
MEASURED = [
    (ip("-1"), Mlp("rms"), 3, "relu", 3),
    (ip("-2"), Mlp("rms"), 3, "relu", 2),
    (preset("mup", 3), Mlp("rms"), 3, "tanh", 3),
    (preset("ntk", 3), ResidualMlp("1", 1, "rms"), 2, "gelu", 0),
]


@pytest.mark.parametrize(("p", "model", "depth", "activation", "whole"), MEASURED)
def test_measured_networks_have_these_exponents(p, model, depth, activation, whole, digits: Dataset):
    """Sizes before the first update, and what it changes, at small widths, in double precision."""
    values: dict[str, dict[tuple[int, int], float]] = {}
    for width in WIDTHS:
        config = PackConfig(
            "digits", depth, width, activation, 64, 1, weights="none", model=model,
            probes=Probes(("coordinates", "isolated_updates"), steps=(0, 1), examples=32),
        )  # fmt: skip
        trainer = Trainer(config, [RunConfig(p, 1.0, seed) for seed in SEEDS], digits, dtype=torch.float64)
        for seed, name, step, value in trainer.advance().points.rows():
            values.setdefault(f"{name}@{step}", {})[width, seed] = value
    blocks = model.block_matrices if isinstance(model, ResidualMlp) else 0
    found = analyze(p, activation=activation, normalization="rms", block_matrices=blocks)
    isolated = isolated_changes(found, 0).by_matrix
    expected = {f"h/{i}@0": h for i, h in enumerate((*found.steps[0].h, found.steps[0].f), start=1)}
    expected |= {f"isolated_change/{i}@1": e for i, e in enumerate(isolated, start=1)}
    changes = found.steps[1].h_change[:whole]
    expected |= {f"h_change/{i}@1": e for i, e in enumerate(changes, start=1)}
    slopes = {key: fit_slope(Samples.of(values[key])).slope.value for key in expected}
    for key, exponent in expected.items():
        assert exponent is not None
        assert slopes[key] == pytest.approx(float(exponent), abs=0.16), (key, slopes)
