"""Orthogonalized and sign updates: by how much one update changes h^l, for every factor of Muon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import ipcore
from ipcore.analysis import fit_slope
from ipcore.catalogue import KNOWN_OPTIMIZERS
from ipcore.config import Probes
from ipcore.errors import AnalysisError
from ipcore.theory import Parameterization, analyze, custom, format_exponent
from ipcore.theory.rules import rule_of
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.study import Measured, Result, Section, Spec, Study

_DEPTH: Final = 3
# A rate exponent that leaves a layer where it is, in single precision at any of these widths too.
_FROZEN: Final = "4"
_STARTS: Final = {"SP": (["0"] * 3, ["0", "1/2", "1/2"]), "muP": (["-1/2", "0", "1/2"], ["1/2"] * 3)}
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 16,
    "activation": "relu",
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 5,
    "base_rate": 0.1,
    "optimizers": ["muon-unscaled", "muon", "muon-spectral", "muon-rms", "signum", "lion"],
    # (optimizer, initial weights, c of the four layers)
    "cases": [
        ["muon-spectral", "muP", ["1/2", "0", "0", "-1/2"]],
        ["muon-spectral", "SP", ["0", "0", "0", "0"]],
        ["muon-spectral", "SP", ["1/2", "1/2", "1/2", "0"]],
        ["muon", "SP", ["0", "0", "0", "0"]],
    ],
}


def _parameterization(start: str, c: list[str]) -> Parameterization:
    a, b = _STARTS[start]
    first = custom(_DEPTH, a=a, b=b, c=["0"] * 3)
    return custom(_DEPTH, a=first.a, b=first.b, c=c)


def parameterizations(spec: Spec, optimizer: str) -> dict[str, Parameterization]:
    """By label: every layer trained alone from SP's initial weights, and the cases of the spec."""
    found = {
        f"layer {layer} alone": _parameterization("SP", ["0" if i == layer else _FROZEN for i in range(1, 5)])
        for layer in range(1, _DEPTH + 2)
    }
    for name, start, c in spec["cases"]:
        if name == optimizer:
            found[f"{start}, c = {', '.join(c)}"] = _parameterization(start, c)
    return found


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    work, total = 0, len(spec["optimizers"]) * sum(m**3 for m in spec["widths"])
    for optimizer in spec["optimizers"]:
        known = parameterizations(spec, optimizer)
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                spec["dataset"],
                _DEPTH,
                width,
                spec["activation"],
                spec["batch_size"],
                1,
                optimizer=optimizer,
                weights="none",
                probes=Probes(("coordinates",), steps=(0, 1)),
            )
            for label, p in known.items():
                runs = [ipcore.RunConfig(p, spec["base_rate"], seed) for seed in range(spec["seeds"])]
                values: list[dict[str, float]] = [{} for _ in runs]
                for position, name, at, value in (
                    ipcore.Trainer(config, runs, dataset).advance().points.rows()
                ):
                    if name.startswith("h_change") and at == 1:
                        values[position][name] = value
                for run, own in zip(runs, values, strict=True):
                    named = f"{optimizer}, {label}"
                    yield Measured(named, _DEPTH, width, "relu", spec["base_rate"], run.seed, own)
            work += width**3
            progress(work / total)


def measured(result: Result, label: str, layer: int) -> float | None:
    """Slope of the mean |h_1^l - h_0^l| over the widths; None: there is none."""
    samples = result.samples(f"h_change/{layer}", parameterization=label)
    try:
        return fit_slope(samples.paired()).slope
    except AnalysisError:
        return None


def _cell(result: Result, label: str, layer: int, expected: str) -> str:
    found = measured(result, label, layer)
    return f"{'-' if found is None else slope(found)} ({expected})"


def _section(result: Result) -> Section:
    alone, together = [], []
    for optimizer in result.spec["optimizers"]:
        known = parameterizations(result.spec, optimizer)
        first, hidden, last = KNOWN_OPTIMIZERS[rule_of(optimizer)].entries
        q = [first, hidden + 1, hidden + 1, last + 1]
        cells = [
            _cell(result, f"{optimizer}, layer {i + 1} alone", i + 1, format_exponent(q[i])) for i in range(4)
        ]
        alone.append([optimizer, *cells])
        for label, p in known.items():
            if "alone" in label:
                continue
            analysis = analyze(p, optimizer=optimizer, activation=result.spec["activation"], steps=1)
            expected = (*analysis.steps[1].h_change, analysis.steps[1].f_change)
            row = [
                _cell(result, f"{optimizer}, {label}", i + 1, "-" if e is None else format_exponent(e))
                for i, e in enumerate(expected)
            ]
            together.append([f"{optimizer}, {label}", analysis.regime.replace("_", " "), *row])
    text = [
        "What one update of a matrix alone changes, from SP's initial weights with "
        "c = 0: slopes against m, measured (q of [theory.md](theory.md)):",
        table(["", "h^1", "h^2", "h^3", "f"], alone),
        "All layers together, one update; with the spectral factor one rate serves all layers:",
        table(["", "theory", "h^1", "h^2", "h^3", "f"], together),
    ]
    return Section("\n\n".join(text))


STUDY: Final = Study(
    name="orthogonalized-updates",
    title="Orthogonalized updates",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 3},
    section=_section,
    measure=_measure,
)
