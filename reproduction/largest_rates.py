"""By which powers of the width, delta* and delta_c, the largest stable and the best base rate move.

Every network is trained for a few updates at base rates an octave apart. At each width and seed

    r_f    is the rate at which max_t mean |f_t| reaches a limit: below it nothing grows
    r_h    is the rate at which max_{t, l} mean |h_t^l| reaches a limit: below it at most the output grows

both interpolated between neighbouring rates in logarithms. The limits are the same at all widths, so theory
expects r_f to go like m^{delta*} and r_h like m^{delta_c}. The best rate has the least final training loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import ipcore
from ipcore.analysis import (
    Estimate,
    PredictedDrift,
    Samples,
    check_rate_transfer,
    fit_slope,
    predicted_drift,
)
from ipcore.config import Probes
from ipcore.errors import AnalysisError
from ipcore.theory import Analysis, Parameterization, analyze, format_exponent, largest_stable_rate, preset
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.pieces import Piece, resumed
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 32,
    "activation": "relu",
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 3,
    "steps": 8,
    "limits": {"f": 8.0, "h": 8.0},
    "rates": 9,
    "octaves": 1.0,  # from one rate to the next
    # (preset, optimizer, hidden layers, loss, log2 of the least rate at the least width, octaves by which the
    # grid is moved per doubling of the width)
    "cases": [
        ["mup", "sgd", 2, "mse", -6, 0.0],
        ["mup", "sgd", 2, "cross_entropy", -4, 0.0],
        ["ntk", "sgd", 2, "cross_entropy", -2, 0.25],
        ["up:1/4", "sgd", 2, "cross_entropy", -3, 0.125],
        ["sp", "sgd", 2, "mse", -10, -1.0],
        ["sp", "sgd", 2, "cross_entropy", -6, -0.75],
        ["ip-llr", "sgd", 3, "mse", -6, 0.0],
        ["ip-llr", "sgd", 3, "cross_entropy", -4, 0.0],
        ["mup", "adam", 2, "cross_entropy", -7, 0.0],
        ["sp", "adam", 2, "cross_entropy", -11, -1.25],
    ],
}


_NEAR: Final = 0.25


def parameterization(name: str, optimizer: str, depth: int) -> Parameterization:
    """The preset of a case."""
    return preset(name, depth, optimizer=optimizer)


def rates(spec: Spec, lowest: float, moved: float, width: int) -> list[float]:
    """The grid of base rates at a width."""
    start = lowest + moved * math.log2(width / spec["widths"][0])
    return [2.0 ** (start + i * spec["octaves"]) for i in range(spec["rates"])]


def label(name: str, optimizer: str, depth: int, loss: str) -> str:
    """What a case is called."""
    return f"{name}, {optimizer}, L = {depth}, {loss.replace('_', ' ')}"


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    pieces = []
    for name, optimizer, depth, loss, lowest, moved in spec["cases"]:
        for width in spec["widths"]:
            for seed in range(spec["seeds"]):

                def measure(
                    case: tuple[str, str, int, str] = (name, optimizer, depth, loss),
                    width: int = width,
                    seed: int = seed,
                    grid: tuple[float, ...] = tuple(rates(spec, lowest, moved, width)),
                ) -> Sequence[Measured]:
                    return _train(spec, *case, width, seed, grid)

                called = f"{label(name, optimizer, depth, loss)}, {width}, {seed}"
                pieces.append(Piece(called, (depth - 1) * width**2 + 200 * width, measure))
    return resumed(STUDY.name, spec, pieces, progress)


def _train(
    spec: Spec,
    name: str,
    optimizer: str,
    depth: int,
    loss: str,
    width: int,
    seed: int,
    grid: Iterable[float],
) -> list[Measured]:
    steps = spec["steps"]
    config = ipcore.PackConfig(
        spec["dataset"],
        depth,
        width,
        spec["activation"],
        spec["batch_size"],
        steps,
        loss=loss,
        optimizer=optimizer,
        metrics_interval=steps,
        weights="none",
        probes=Probes(("coordinates",), steps=tuple(sorted({1, 2, 3, 4, 6, steps}))),
    )
    p = parameterization(name, optimizer, depth)
    runs = [ipcore.RunConfig(p, rate, seed) for rate in grid]
    sizes = [{"f": 0.0, "h": 0.0, "loss": math.nan} for _ in runs]
    trainer = ipcore.Trainer(config, runs, load(spec["dataset"]), threads=1)
    for position, metric, step, value in trainer.advance().points.rows():
        own = sizes[position]
        if metric.startswith("h/"):
            which = "f" if metric == f"h/{depth + 1}" else "h"
            own[which] = max(own[which], value if math.isfinite(value) else math.inf)
        elif metric == "train_loss" and step == steps:
            own["loss"] = value
    return [
        # A run that diverged has grown beyond every limit.
        Measured(
            label(name, optimizer, depth, loss),
            depth,
            width,
            spec["activation"],
            run.base_learning_rate,
            seed,
            own if math.isfinite(own["loss"]) else {},
        )
        for run, own in zip(runs, sizes, strict=True)
    ]


def crossings(result: Result, called: str, name: str) -> Samples:
    """The rate at which a size reaches the limit, by width and seed; NaN: not within the grid."""
    limit = math.log(result.spec["limits"][name])
    found = {}
    for width in result.spec["widths"]:
        for seed in range(result.spec["seeds"]):
            runs = sorted(
                result.select(parameterization=called, width=width, seed=seed), key=lambda run: run.rate
            )
            logs = [(math.log(run.rate), _log(run.values.get(name, math.inf))) for run in runs]
            found[width, seed] = _crossing(logs, limit)
    return Samples.of(found)


def _log(size: float) -> float:
    return math.log(size) if size > 0 else -math.inf


def _crossing(logs: Sequence[tuple[float, float]], limit: float) -> float:
    for (x, y), (u, v) in pairwise(logs):
        if y <= limit < v:
            # Beside a run that is not finite only the gap of the grid is known: take its middle.
            share = (limit - y) / (v - y) if math.isfinite(v) else 0.5
            return math.exp(x + share * (u - x))
    return math.nan


def drift(result: Result, called: str, name: str) -> Estimate | str:
    """Octaves per doubling of the width by which the rate moves that brings a size to the limit."""
    try:
        return fit_slope(crossings(result, called, name).paired()).slope
    except AnalysisError:
        return "not in the grid"


def best(result: Result, called: str, analysis: Analysis, moved: float) -> tuple[Estimate, str] | str:
    """Drift of the rate with the least training loss, and the verdict on it; or why there is none.

    Args:
        result: The study's.
        called: The case.
        analysis: What theory says of it.
        moved: Octaves per doubling of the width by which the grid of rates moves. Rates are taken relative
            to it, so that every width has been trained at all of them.
    """
    first = result.spec["widths"][0]
    losses = {
        (run.width, round(run.rate * (run.width / first) ** -moved, 12), run.seed): run.values.get(
            "loss", math.nan
        )
        for run in result.select(parameterization=called)
    }
    expected, by = predicted_drift(analysis), Fraction(moved)
    if not isinstance(expected, str):
        expected = PredictedDrift(expected.low - by, expected.high - by)
    try:
        found = check_rate_transfer(losses, expected)
    except AnalysisError as error:
        return str(error)
    ends = (found.drift.value, found.drift.low, found.drift.high)
    return Estimate(*(end + moved for end in ends)), found.verdict.value


def predicted(spec: Spec) -> dict[str, Analysis]:
    """What theory says of every case, by label."""
    return {
        label(name, optimizer, depth, loss): analyze(
            parameterization(name, optimizer, depth),
            optimizer=optimizer,
            activation=spec["activation"],
            loss=loss,
            epsilon="negligible" if optimizer == "adam" else None,
        )
        for name, optimizer, depth, loss, *_ in spec["cases"]
    }


def _section(result: Result) -> Section:
    rows, near, measured = [], [0, 0], [0, 0]
    for (name, optimizer, depth, loss, _, moved), (called, analysis) in zip(
        result.spec["cases"], predicted(result.spec).items(), strict=True
    ):
        rate = largest_stable_rate(
            parameterization(name, optimizer, depth),
            optimizer=optimizer,
            activation=result.spec["activation"],
            loss=loss,
            epsilon=analysis.epsilon or None,
        )
        transfer = best(result, called, analysis, moved)
        drifts = drift(result, called, "f"), drift(result, called, "h")
        for i, (found, exponent) in enumerate(zip(drifts, (rate.stable, rate.controlled), strict=True)):
            if isinstance(found, Estimate) and exponent is not None:
                measured[i] += 1
                near[i] += abs(found.value - exponent) <= _NEAR
        rows.append(
            [
                called,
                _exponent(rate.stable),
                _cell(drifts[0]),
                _exponent(rate.controlled),
                _cell(drifts[1]),
                transfer if isinstance(transfer, str) else f"{slope(transfer[0])}, {transfer[1]}",
            ]
        )
    spec = result.spec
    f, h = spec["limits"]["f"], spec["limits"]["h"]
    text = [
        "Multiply all rates by m^delta: up to delta* nothing grows, up to delta_c at most the output does. "
        "So the largest stable base rate moves by delta* octaves per doubling of the width, and the best "
        "rate by something in [delta*, delta_c] ([theory.md](theory.md), section 4). Here networks are "
        f"trained for {spec['steps']} updates on {spec['dataset']} at base rates a factor of "
        f"{2 ** spec['octaves']:g} apart, with {spec['seeds']} seeds. At each width and seed r_f is the rate "
        f"at which mean |f_t| reaches {f:g} at some step, r_h that at which mean |h_t^l| of some hidden "
        f"layer reaches {h:g}, interpolated between rates. The limits are "
        "the same at all widths, so r_f should go like m^(delta*) and r_h like m^(delta_c). With squared "
        "errors both grow together. Adam's epsilon is small beside the gradients.",
        table(["octaves per doubling", "delta*", "r_f", "delta_c", "r_h", "best rate, against theory"], rows),
        f"r_f lies within {_NEAR:g} of delta* in {near[0]} of {measured[0]} cases, r_h of delta_c in "
        f"{near[1]} of {measured[1]}. Of r_f less can be expected: f has a size at the start, which differs "
        "from seed to seed and, but where it is of order 1, from width to width, and a few updates have to "
        "bring it to the limit.",
        "The best rate is that of the least final training loss; after so few updates it lies at or near the "
        "largest stable one. Where rates are far too large ReLU networks may stop growing because all of "
        "their units die. The limit of h was chosen after such results: in a first pass it was 32, and r_h "
        "of SP with squared errors moved by -.49 octaves per doubling, not -1. Then the limit was lowered "
        "to 8, and the grid of SP with cross entropy was moved.",
    ]
    return Section("\n\n".join(text))


def _cell(found: Estimate | str) -> str:
    return found if isinstance(found, str) else slope(found)


def _exponent(value: Fraction | None) -> str:
    return "-" if value is None else format_exponent(value)


STUDY: Final = Study(
    name="largest-rates",
    title="The largest stable base rate",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 2},
    section=_section,
    measure=_measure,
)
