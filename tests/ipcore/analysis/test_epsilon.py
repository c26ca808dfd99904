"""Adam's epsilon against measured gradients decides which prediction is used."""

import functools
import math

import pytest

from ipcore.analysis import (
    Samples,
    Verdict,
    check_coordinates,
    check_stationarity,
    layer_epsilons,
    predictions_at,
)
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.probes.quantities import with_companions
from ipcore.theory import analyze, custom, preset
from ipcore.training.trainer import Trainer
from tests.ipcore.analysis.synthetic import power, samples

SP = preset("sp", 2, optimizer="adam")
LIMIT = analyze(SP, optimizer="adam", steps=3)


def with_epsilon(p):
    return lambda epsilon: analyze(p, optimizer="adam", steps=3, epsilon=epsilon or None)


def gradients(*factors, steps=(0,)):
    """Mean |g| of the layers, falling as theory says: m^-1/2, m^-1/2, 1."""
    exponents = (-0.5, -0.5, 0.0)
    return {
        ("gradient", layer, step): samples(power(exponent, factor))
        for layer, (factor, exponent) in enumerate(zip(factors, exponents, strict=True), start=1)
        for step in steps
    }


def test_each_layer_is_compared_with_its_own_epsilon():
    first, second, last = layer_epsilons(gradients(1e-6, 1e-9, 1e-12), LIMIT, 1e-8, 1)
    assert [layer.choice for layer in (first, second, last)] == ["between", "dominating", "dominating"]
    # 1e-6 m^-1/2 is 1e-8 at m = 1e4; at 1024 it is 1e2 / 32 times epsilon.
    assert first.least == pytest.approx(100 / 32, rel=1e-6)
    assert first.crossover == pytest.approx(1e4)
    assert second.crossover == pytest.approx(1e-2)
    assert last.crossover is None


def test_a_scaled_epsilon_is_compared_at_each_width():
    """d = 1/2 in layer 1: epsilon is 1e-8 m^-1/2 and falls as the gradient does."""
    p = custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3, d=["1/2", "0", "0"])
    layer = layer_epsilons(gradients(1e-6, 1e-6, 1e-6), analyze(p, optimizer="adam"), 1e-8, 1)[0]
    assert (layer.least, layer.most) == (pytest.approx(100), pytest.approx(100))
    assert layer.choice == "negligible"


def test_epsilon_0_is_negligible_and_a_gradient_of_0_is_not_large():
    assert {layer.choice for layer in layer_epsilons(gradients(1e-6, 1e-6, 1e-6), LIMIT, 0.0, 1)} == {
        "negligible"
    }
    dead = gradients(1.0, 1.0, 1.0) | {("gradient", 1, 0): samples(lambda m: 0.0)}
    assert layer_epsilons(dead, LIMIT, 1e-8, 1)[0].choice == "dominating"


def test_the_gradients_before_a_step_count():
    """Step 1 uses the gradient of step 0 alone; later steps those in between too."""
    measured = gradients(1e-3, 1e-3, 1e-3) | {("gradient", 1, 1): samples(power(0.0, 1e-10))}
    assert layer_epsilons(measured, LIMIT, 1e-8, 1)[0].choice == "negligible"
    assert layer_epsilons(measured, LIMIT, 1e-8, 2)[0].choice == "between"
    only_later = gradients(1e-3, 1e-3, 1e-3, steps=(5,))
    assert layer_epsilons(only_later, LIMIT, 1e-8, 1)[0].choice == "negligible"


def test_the_prediction_that_holds_is_used_and_said():
    found, (note,) = predictions_at(gradients(5e-3, 5e-3, 5e-3), with_epsilon(SP), 1e-8, (0, 1))
    assert found.keys() == {1}
    assert found[1].other is None
    assert found[1].analysis.steps[1].h_change == (0, 1)
    # 5e-3 / 32 / 1e-8; equal where m^1/2 = 5e5.
    assert note == (
        "Adam's epsilon is negligible in layers 1, 2, 3: mean |g| is at least 1.6e+04 times epsilon, "
        "equal at m ~ 2.5e+11 (after 1 update)"
    )
    large, (note,) = predictions_at(gradients(1e-12, 1e-12, 1e-12), with_epsilon(SP), 1e-8, (1, 2))
    assert large[1].analysis.epsilon == ("dominating",) * 3
    assert note.startswith(
        "Adam's epsilon dominates in layers 1, 2, 3: mean |g| is at most 0.0001 times epsilon"
    )
    assert note.endswith("(after 1, 2 updates)")


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (
            gradients(1e-7, 2e-2, 2e-2),
            "Adam's epsilon is as large as gradients in layer 1: mean |g| is 0.31 .. 0.88",
        ),
        (
            {},
            "Adam's epsilon cannot be compared with the gradients of layers 1, 2, 3, of which none",
        ),
    ],
)
def test_in_between_nothing_is_decided_that_depends_on_it(measured, why):
    found, _ = predictions_at(measured, with_epsilon(SP), 1e-8, (1,))
    sizes = {
        ("h", 1, 0): samples(power(0.0), noise=0.01),
        ("h_change", 1, 1): samples(power(-0.2), noise=0.01),
    }
    start, change = check_coordinates(measured | sizes, LIMIT, predictions=found).coordinates
    assert start.verdict is Verdict.AGREES
    assert change.verdict is Verdict.UNDECIDED
    assert why in change.sentence
    assert change.sentence.endswith("between 0 and -1/2")
    f = samples(power(0.3), noise=0.01)
    assert check_stationarity(f, found[1], 1).verdict is Verdict.AGREES  # f grows in both


def test_without_exponents_of_epsilon_there_is_nothing_to_choose():
    p = custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3)
    assert predictions_at({}, with_epsilon(p), 1e-8, (1,)) == ({}, ())


def test_sp_with_adam_and_the_default_epsilon_does_not_disagree(digits):
    """Trained correctly: h^1 changes by order 1 (slope about 0), although the limit's exponent is -1/2.

    |g| is at least 1e-3, epsilon 1e-8: updates are signs at every width in practice.
    """
    probes = with_companions(Probes(("coordinates",), steps=(0, 1), examples=32), "adam")
    p = preset("sp", 2, optimizer="adam")
    values = {}
    for width in (32, 64, 128):
        config = PackConfig(
            "digits",
            2,
            width,
            "relu",
            batch_size=64,
            steps=1,
            weights="none",
            probes=probes,
            optimizer="adam",
        )
        runs = [RunConfig(p, 0.01, seed) for seed in range(12)]
        for run, metric, step, value in Trainer(config, runs, digits).advance().points.rows():
            quantity, _, layer = metric.partition("/")
            if layer:
                values.setdefault((quantity, int(layer), step), {})[width, run] = value
    measured = {key: Samples.of(by_run) for key, by_run in values.items()}
    analysis = functools.partial(analyze, p, optimizer="adam", steps=2)
    predictions, notes = predictions_at(measured, lambda e: analysis(epsilon=e or None), 1e-8, (0, 1))
    assert [note.startswith("Adam's epsilon is negligible in layers 1, 2, 3") for note in notes] == [True]
    report = check_coordinates(measured, analysis(), predictions=predictions)
    assert report.first is None, report.first.sentence
    (h1,) = [c for c in report.coordinates if (c.layer, c.step) == (1, 1)]
    assert h1.verdict is Verdict.AGREES
    assert (h1.predicted, h1.fit.slope.value) == (0, pytest.approx(0, abs=0.1))
    # In the limit, epsilon dominates; against that prediction the same networks would be wrong.
    limit = check_coordinates(measured, analysis())
    assert (limit.first.layer, limit.first.predicted) == (1, -0.5)
    assert not math.isnan(h1.expected)
