"""What theory expects at finite widths, from parts measured at one of them, against measured slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ipcore.analysis import Samples, Slope, check_coordinates, finite_width, fit_slope
from ipcore.analysis.widths import width_text
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import load_dataset
from ipcore.theory import Power, analyze, crossover, fitted_slope, format_exponent, preset, sum_at
from ipcore.training.trainer import Trainer
from reproduction.markdown import slope, table
from reproduction.study import Measured, Result, Section, Spec, Study

# Name, hidden layers, base rates.
_CASES: Final = [["mup", 2, [0.05, 0.2, 1.0]], ["ip-llr", 3, [1.0, 4.0]]]
_SPEC: Final = {
    "dataset": "digits",
    "cases": _CASES,
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": list(range(12)),
    "batch_size": 64,
    "examples": 64,
}
_ByKey = Mapping[tuple[str, int, int], Samples]
_KEPT: Final = ("h", "h_change", "change_below", "change_own")


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    data = load_dataset(spec["dataset"])
    work = [(case, width) for case in spec["cases"] for width in spec["widths"]]
    total, done = sum(width**2 for _, width in work), 0
    for (name, layers, rates), width in work:
        probes = Probes(("coordinates", "parts"), steps=(0, 1), examples=spec["examples"])
        config = PackConfig(
            spec["dataset"],
            layers,
            width,
            "relu",
            batch_size=spec["batch_size"],
            steps=1,
            weights="none",
            probes=probes,
        )
        runs = [RunConfig(preset(name, layers), rate, seed) for rate in rates for seed in spec["seeds"]]
        values: dict[int, dict[str, float]] = {}
        for run, metric, step, value in Trainer(config, runs, data).advance().points.rows():
            if metric.partition("/")[0] in _KEPT:
                values.setdefault(run, {})[f"{metric}@{step}"] = value
        for run, found in values.items():
            settings = runs[run]
            yield Measured(name, layers, width, "relu", settings.base_learning_rate, settings.seed, found)
        done += width**2
        progress(done / total)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One size: what theory expects at these widths, and what was measured.

    Attributes:
        what: Parameterization, depth and size.
        rate: Base learning rate.
        exponent: In the limit.
        equal: The width at which its two parts are equal; None where their exponents are the same.
        expected: Slope from the parts at the middle width.
        fit: What was measured.
    """

    what: str
    rate: float
    exponent: Fraction
    equal: float | None
    expected: float
    fit: Slope


def comparisons(result: Result) -> list[Comparison]:
    """|f_1| of muP and the changes of IP-LLR, at every base rate."""
    found = []
    for name, layers, rates in result.spec["cases"]:
        for rate in rates:
            measured = _measured(result, layers, parameterization=name, rate=rate)
            found += (
                _output(measured, layers, rate) if name == "mup" else _changes(measured, name, layers, rate)
            )
    return found


def _section(result: Result) -> Section:
    rows = [
        [
            c.what,
            f"{c.rate:g}",
            format_exponent(c.exponent),
            "-" if c.equal is None else f"m = {width_text(c.equal)}",
            f"{c.expected:.2f}",
            slope(c.fit.slope),
        ]
        for c in comparisons(result)
    ]
    head = ["", "base rate", "exponent", "parts are equal at", "slope expected", "slope measured"]
    text = [
        "A size is a sum of parts with different exponents. From the parts' sizes at the middle width and "
        "theory's exponents, which slope is to be expected over all widths? (ReLU, one update. muP: |f_1|, "
        "where f_0 is of order m^(-1/2) and the change of order 1. IP-LLR, without calibration: changes, of "
        "which W_0 passes on m^(-1/2) in h^2 and h^3 beside own updates of order 1, and layers inherit the "
        "slope of those below.)",
        table(head, rows),
    ]
    return Section("\n\n".join(text), {})


def _measured(result: Result, layers: int, **chosen: Any) -> dict[tuple[str, int, int], Samples]:
    found = {}
    for layer in range(1, layers + 2):
        for quantity, step in (("h", 0), ("h", 1), *((kind, 1) for kind in _KEPT[1:])):
            name = f"{quantity}/{layer}@{step}"
            if any(name in run.values for run in result.select(**chosen)):
                found[quantity, layer, step] = result.samples(name, **chosen)
    return found


def _output(measured: _ByKey, layers: int, rate: float) -> list[Comparison]:
    """|f_1| of muP: the start and the change."""
    fit = fit_slope(measured["h", layers + 1, 1].paired())
    width = fit.widths[len(fit.widths) // 2]
    start, first = analyze(preset("mup", layers), steps=1).steps[:2]
    parts = [
        Power(exponent, _mean(measured[key], width), width)
        for exponent, key in (
            (start.f, ("h", layers + 1, 0)),
            (first.f_change, ("h_change", layers + 1, 1)),
        )
        if exponent is not None
    ]
    expected = fitted_slope([sum_at(parts, m) for m in fit.widths], fit.widths)
    exponent = max(part.exponent for part in parts)
    return [Comparison(f"mup, L={layers}: f", rate, exponent, crossover(*parts), expected, fit)]


def _changes(measured: _ByKey, name: str, layers: int, rate: float) -> list[Comparison]:
    analysis = analyze(preset(name, layers), steps=1)
    there = finite_width(measured, analysis, 1)
    if there is None:
        return []
    return [
        Comparison(
            f"{name}, L={layers}: {c.name}",
            rate,
            c.predicted,
            there.expected[c.layer - 1].crossover,
            c.expected,
            c.fit,
        )
        for c in check_coordinates(measured, analysis).coordinates
        if c.step == 1 and c.layer > 1 and c.expected is not None
    ]


def _mean(samples: Samples, width: int) -> float:
    return float(samples.values[samples.widths.index(width)].mean())


STUDY: Final = Study(
    name="finite-width",
    title="Slopes expected at finite widths",
    spec=_SPEC,
    quick={**_SPEC, "widths": [32, 64, 128], "seeds": [0, 1, 2]},
    section=_section,
    measure=_measure,
)
