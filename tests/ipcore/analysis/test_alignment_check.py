"""Measured alignment against the calculus: where they differ, and what theory says of measured alignment."""

from fractions import Fraction

import numpy as np
import pytest

from ipcore.analysis import Samples, Verdict, check_alignment
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.theory import Regime, analyze, preset
from ipcore.training.trainer import Trainer

WIDTHS, SEEDS = (128, 256, 512, 1024), range(4)


def ratios(theta, noise=0.01, constant=0.3, seeds=SEEDS):
    """Log alignment ratios to base m of rms(Delta W x) = constant m^theta rms(Delta W) rms(x)."""
    draw = np.random.default_rng(3)
    values = {
        (m, seed): theta + (np.log(constant) + draw.normal(0, noise)) / np.log(m)
        for m in WIDTHS
        for seed in seeds
    }
    return Samples.of(values)


def check(thetas, name="ip-llr", activation="relu", steps=None, **given):
    """`thetas` are given by (layer, step)."""
    p = preset(name, 3)
    measured = {("alignment_update", *key): ratios(theta, **given) for key, theta in thetas.items()}

    def ask(bounds):
        return analyze(p, activation=activation, alignment=bounds)

    return check_alignment(measured, analyze(p, activation=activation), ask, steps=steps)


def test_a_constant_factor_is_no_alignment():
    found = check({(layer, step): 1 for layer in (2, 3, 4) for step in (1, 2)})
    assert found.verdict is Verdict.AGREES
    assert [(theta.step, theta.layer) for theta in found.thetas] == [
        (s, x) for s in (1, 2) for x in (2, 3, 4)
    ]
    assert all(abs(theta.fit.slope.value - 1) < 0.02 for theta in found.thetas)
    assert found.conclusion.startswith("follows the calculus: all 6 exponents of alignment agree; theory")


def test_the_first_layer_and_step_that_leave_are_named():
    thetas = {(2, 1): 1, (3, 1): 1, (4, 1): 1, (2, 2): 1, (3, 2): 0.7, (4, 2): 0.5}
    found = check(thetas)
    assert (found.first.layer, found.first.step) == (3, 2)
    assert found.conclusion.startswith("leaves the calculus at W^3 from step 2: alignment 0.7")
    assert "derived 1; theory with the measured alignment: " in found.conclusion
    # The readout alone: twice the tolerance.
    assert check({(2, 1): 1, (3, 1): 1, (4, 1): 0.8}).first is None
    assert check({(2, 1): 1, (3, 1): 0.8, (4, 1): 1}).first.layer == 3
    # Further off than the tolerance, but not by more than the next order in the width may be.
    assert check({(2, 1): 1, (3, 1): 0.85, (4, 1): 1}).first is None


def test_what_is_derived_depends_on_the_activation():
    halves = {(2, 1): 1, (3, 1): 0.5, (4, 1): 0.5}
    assert check(halves, activation="tanh").verdict is Verdict.AGREES
    assert check(halves, activation="relu").first.layer == 3
    # From step 2 on theory has only bounds: inside them the check is undecided, outside it disagrees.
    later = check(
        {(layer, 2): theta for (layer, _), theta in {**halves, (3, 2): 0.3}.items()}, activation="tanh"
    )
    verdicts = {theta.layer: theta.verdict for theta in later.thetas}
    assert verdicts == {2: Verdict.AGREES, 3: Verdict.DISAGREES, 4: Verdict.UNDECIDED}


def test_both_ends_are_asked():
    # IP-LLR at theta = 1/2 above layer 1: the output does not move.
    low = check({(2, 1): 0.5, (3, 1): 0.5, (4, 1): 0.5})
    assert low.analysis.regime is Regime.TRIVIAL
    # Between: at one end of the interval the output moves, at the other it does not.
    wide = check({(2, 1): 0.98, (3, 1): 0.98, (4, 1): 0.98}, noise=0.1)
    least, most = wide.bounds
    assert most.forward == (1, 1, 1)
    assert all(Fraction(1, 2) <= theta < 1 for theta in least.forward)
    assert wide.analysis.regime is Regime.MEASURE
    assert "measure (the bounds on alignment that are given leave both trivial" in wide.conclusion
    # muP learns in layer 1 whatever W^2 and W^3 do.
    assert (
        check({(2, 1): 0.9, (3, 1): 0.8, (4, 1): 0.9}, name="mup").analysis.regime is Regime.FEATURE_LEARNING
    )


def test_all_steps_are_within_the_bounds_asked():
    found = check({(layer, step): 1 - 0.1 * step for layer in (2, 3, 4) for step in (1, 2, 3)}, noise=1e-4)
    least, most = found.bounds
    assert all(float(theta) == pytest.approx(0.7, abs=0.01) for theta in least.forward)
    assert all(float(theta) == pytest.approx(0.9, abs=0.01) for theta in most.forward)
    assert (least.initial, least.backward) == ((Fraction(1, 2), Fraction(1, 2), 1), (1, 1))


def test_backward_alignment_and_that_of_initial_matrices_are_measured_too():
    p = preset("ip-llr", 3)
    measured = {("alignment_update", layer, 1): ratios(1, noise=1e-4) for layer in (2, 3, 4)}
    measured |= {("alignment_backward", layer, 1): ratios(0.8, noise=1e-4) for layer in (2, 3)}
    omegas = {2: 0.5, 3: 0.5, 4: 1}
    measured |= {("alignment_change", layer, 1): ratios(e, noise=1e-4) for layer, e in omegas.items()}
    asked = []

    def ask(bounds):
        asked.append(bounds)
        return analyze(p, alignment=bounds)

    found = check_alignment(measured, analyze(p), ask)
    assert [(t.quantity, t.layer) for t in found.thetas] == [
        ("alignment_update", 2),
        ("alignment_backward", 2),
        ("alignment_change", 2),
        ("alignment_update", 3),
        ("alignment_backward", 3),
        ("alignment_change", 3),
        ("alignment_update", 4),
        ("alignment_change", 4),
    ]
    assert found.conclusion.startswith("leaves the calculus at W^2 from step 1: backward alignment 0.8")
    ((least, most),) = asked
    assert all(float(theta) == pytest.approx(0.8, abs=0.01) for theta in (*least.backward, *most.backward))
    assert [round(float(omega), 2) for omega in most.initial] == [0.5, 0.5, 1]
    # One matrix without: the row is as the calculus has it.
    del measured["alignment_backward", 3, 1]
    assert check_alignment(measured, analyze(p), ask).bounds[0].backward == (1, 1)


def test_one_seed_leaves_everything_open():
    found = check({(layer, 1): 1 for layer in (2, 3, 4)}, seeds=[0])
    assert {theta.verdict for theta in found.thetas} == {Verdict.UNDECIDED}
    assert [set(bound.forward) for bound in found.bounds] == [{Fraction(1, 2)}, {Fraction(1)}]
    assert "is not seen to leave the calculus: 0 of 3" in found.conclusion


def test_what_is_missing_is_said():
    found = check({(2, 1): 1, (4, 1): 1})
    assert found.analysis is None
    assert found.notes == ("theory is not applied with the measured alignment: there is none of W^3",)
    assert check({}).conclusion == "no exponent of alignment could be measured"
    assert check({(2, 1): 1, (3, 1): 1, (4, 1): 1}, steps=[2]).thetas == ()
    unstable = check({(2, 1): 1, (3, 1): 1, (4, 1): 1}, name="sp")
    assert "not derived where something grows" in unstable.notes[0]
    assert unstable.analysis.regime is Regime.UNSTABLE


def test_an_omega_that_agrees_is_taken_as_derived():
    """At finite widths omega = 1/2 measures .53: taken literally every layer would enlarge changes."""
    p = preset("mup", 3)
    measured = {("alignment_update", layer, 1): ratios(1, noise=1e-4) for layer in (2, 3, 4)}
    measured |= {("alignment_change", layer, 1): ratios(0.53, noise=1e-4) for layer in (2, 3)}
    measured |= {("alignment_change", 4, 1): ratios(1, noise=1e-4)}

    def asked(more=()):
        return check_alignment(measured | dict(more), analyze(p), lambda bounds: analyze(p, alignment=bounds))

    found = asked()
    assert found.verdict is Verdict.AGREES
    assert found.bounds[0].initial == found.bounds[1].initial == (Fraction(1, 2), Fraction(1, 2), 1)
    assert found.analysis.regime is not Regime.UNSTABLE
    # What disagrees is taken as measured.
    other = asked({("alignment_change", 3, 1): ratios(0.8, noise=1e-4)})
    assert other.first.layer == 3
    assert [float(bound.initial[1]) for bound in other.bounds] == pytest.approx([0.8, 0.8], abs=0.01)
    assert other.analysis.regime is Regime.UNSTABLE


SMALL, RUNS = (64, 128, 256, 512), range(4)
# Derived, by quantity, of the matrices that have it: W^2, W^3, W^4.
THETA, BACK, OMEGA = "alignment_update", "alignment_backward", "alignment_change"
MEASURED = [
    ("mup", "relu", 0.5, {THETA: (1, 1, 1), BACK: (1, 1), OMEGA: (0.5, 0.5, None)}),
    ("ip-llr", "relu", 4.0, {THETA: (1, 1, 1), BACK: (1, 1), OMEGA: (0.5, 0.5, None)}),
    ("ip-llr", "tanh", 4.0, {THETA: (None, 0.5, 0.5), OMEGA: (0.5, 0.5, 1)}),
]


@pytest.mark.parametrize(("name", "activation", "rate", "expected"), MEASURED)
def test_networks_of_several_widths_are_as_aligned_as_derived(name, activation, rate, expected, digits):
    """theta, theta' and omega of real networks, probed after one update: slopes over four small widths.

    None: what small widths do not show yet (the readout is aligned with what it has taught the layer below
    only once that outgrows the random part; constants of tanh).
    """
    p, values = preset(name, 3), {}
    for width in SMALL:
        config = PackConfig(
            "digits", 3, width, activation, 64, 1, weights="none",
            probes=Probes(("alignment",), steps=(1,), examples=64),
        )  # fmt: skip
        runs = [RunConfig(p, rate, seed) for seed in RUNS]
        for seed, metric, step, value in Trainer(config, runs, digits).advance().points.rows():
            quantity, _, layer = metric.partition("/")
            if step == 1 and quantity in expected:
                values.setdefault((quantity, int(layer), step), {})[width, seed] = value
    measured = {key: Samples.of(by_run) for key, by_run in values.items()}
    analysis = analyze(p, activation=activation)
    found = check_alignment(
        measured, analysis, lambda bounds: analyze(p, activation=activation, alignment=bounds)
    )
    assert found.first is None  # nothing is seen to leave the calculus
    slopes = {(theta.quantity, theta.layer): theta.fit.slope.value for theta in found.thetas}
    for quantity, row in expected.items():
        for layer, exponent in enumerate(row, start=2):
            if exponent is not None:
                assert slopes[quantity, layer] == pytest.approx(exponent, abs=0.16), (quantity, layer)
    # Theory with them says what it says without, or leaves it to measurement.
    assert found.analysis.regime in {analysis.regime, Regime.MEASURE, Regime.TRIVIAL}
