"""Controlled divergence: the output of SP may grow while hidden layers stay, with cross entropy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import ipcore
from ipcore.analysis import fit_slope
from ipcore.config import Probes
from ipcore.errors import AnalysisError
from ipcore.theory import Analysis, Parameterization, analyze, custom, format_exponent
from ipcore.theory.maxplus import Size
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 64,
    "activation": "relu",
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 5,
    # (label, optimizer, hidden layers, c of all layers, base rate, loss, update that is shown)
    "cases": [
        ["SP, c = 1/2", "sgd", 3, "1/2", 0.25, "cross_entropy", 3],
        ["SP, c = 1/2", "sgd", 3, "1/2", 1.0, "cross_entropy", 3],
        ["SP, c = 1/2", "sgd", 3, "1/2", 1.0, "mse", 2],
        ["SP, c = 3/4", "sgd", 3, "3/4", 1.0, "cross_entropy", 3],
        ["SP, c = 0, L = 1", "sgd", 1, "0", 0.5, "cross_entropy", 3],
        ["SP, c = 0, L = 1", "sgd", 1, "0", 0.5, "mse", 2],
        ["SP, c = 1", "adam", 3, "1", 1.0, "cross_entropy", 3],
        ["SP, c = 1", "adam", 3, "1", 1.0, "mse", 3],
    ],
}


def standard(hidden_layers: int, c: str) -> Parameterization:
    """The standard parameterization with one rate exponent."""
    return custom(hidden_layers, a=["0"] * 3, b=["0", "1/2", "1/2"], c=[c] * 3)


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    work, total = 0, len(spec["cases"]) * sum(m * m for m in spec["widths"])
    for label, optimizer, depth, c, rate, loss, step in spec["cases"]:
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                spec["dataset"],
                depth,
                width,
                spec["activation"],
                spec["batch_size"],
                step,
                loss=loss,
                optimizer=optimizer,
                metrics_interval=1,
                weights="none",
                probes=Probes(("coordinates",), steps=tuple(range(step + 1))),
            )
            runs = [ipcore.RunConfig(standard(depth, c), rate, seed) for seed in range(spec["seeds"])]
            values: list[dict[str, float]] = [{} for _ in runs]
            for position, name, at, value in ipcore.Trainer(config, runs, dataset).advance().points.rows():
                if name.startswith("h") and at in (0, step):
                    values[position][f"{name}@{at}"] = value
            for run, own in zip(runs, values, strict=True):
                yield Measured(
                    _label(label, optimizer, rate, loss), depth, width, "relu", rate, run.seed, own
                )
            work += width * width
            progress(work / total)


def _label(label: str, optimizer: str, rate: float, loss: str) -> str:
    return f"{label}, {optimizer}, base rate {rate:g}, {loss.replace('_', ' ')}"


def predicted(spec: Spec) -> dict[tuple[str, int], Analysis]:
    """What theory says of every case, by label and update that is shown."""
    found = {}
    for label, optimizer, depth, c, rate, loss, step in spec["cases"]:
        p = standard(depth, c)
        analysis = analyze(p, optimizer=optimizer, activation=spec["activation"], loss=loss, steps=step)
        found[_label(label, optimizer, rate, loss), step] = analysis
    return found


def measured_slope(result: Result, label: str, name: str) -> str:
    """A slope over the widths, or why there is none."""
    samples = result.samples(name, parameterization=label)
    try:
        return slope(fit_slope(samples.paired()).slope)
    except AnalysisError:
        lost = sum(
            not math.isfinite(r.values.get(name, math.nan)) for r in result.select(parameterization=label)
        )
        return f"{lost} runs not finite"


def _section(result: Result) -> Section:
    rows = []
    for (label, step), analysis in predicted(result.spec).items():
        sizes = next(s for s in analysis.steps if s.step == step)
        L = analysis.parameterization.hidden_layers
        bound = "" if sizes.exact else "at most "

        def cells(name: str, exponents: tuple[Size, ...], label: str = label, step: int = step) -> str:
            texts = [measured_slope(result, label, f"{name}/{i + 1}@{step}") for i in range(len(exponents))]
            return "; ".join(
                f"{text} ({'-' if e is None else format_exponent(e)})"
                for text, e in zip(texts, exponents, strict=True)
            )

        rows.append(
            [
                f"{label}, step {step}",
                analysis.regime.replace("_", " "),
                bound.strip(),
                cells("h", sizes.h),
                cells("h_change", sizes.h_change),
                f"{measured_slope(result, label, f'h/{L + 1}@{step}')} ({format_exponent(sizes.f or 0)})",
            ]
        )
    text = [
        "The standard parameterization with one rate m^(-c), larger than the 1/m that keeps the output: "
        "theory calls it controlled divergence under cross entropy and unstable under squared errors "
        "([theory.md](theory.md)). Slopes of mean |h^l|, of its change and of mean |f| against m, measured "
        "(predicted); after the output has grown predictions are upper bounds (at most):",
        table(["", "theory", "", "h^1; h^2; ..", "change of h^1; h^2; ..", "f"], rows),
        "With Adam hidden layers stay under both losses, because its updates do not depend on the size of "
        "the derivative: only the output, and with it the squared error, grows.",
        "Exponents are those of m to infinity at a fixed base rate. With c = 1/2 and base rate 1 the third "
        "update is not there yet at the smallest of these widths: slopes of hidden changes and of f lie "
        "above the predicted ones, while at 0.25 they are near. The derivative of the loss is not the "
        "reason: its mean size at the output was between 0.14 and 0.18 at all widths from 128 to 4096 and "
        "in all three updates. But at m = 128 |f_3| is about 1, as |f_0| is, so nothing of its growth "
        "shows. From m = 512 to 8192 (two or three seeds, measured by hand) |f_1| |f_2| |f_3| went like "
        "m^0.57 m^0.69 m^0.73 and the changes of h^1 h^2 h^3 at step 3 like m^-0.95 m^0.05 m^0.07; slopes of "
        "f between neighbouring widths scattered from 0.1 to 1.1. So hidden layers are as predicted, and "
        "whether later steps of f come down to 1/2 is not decided.",
        "With Adam and squared errors all slopes lie below their bounds. By hand, two or three seeds, |f_1| "
        "went like m^0.51 from m = 128 to 4096, and h^1 changed by m^-1.01 from 2048 to 4096. But each "
        "update takes back much of the output's growth: |f_t| was 6.8, 2.2, 1.1 at m = 2048.",
    ]
    return Section("\n\n".join(text))


STUDY: Final = Study(
    name="controlled-divergence",
    title="Controlled divergence",
    spec=_SPEC,
    quick=_SPEC | {"widths": [128, 256, 512], "seeds": 3},
    section=_section,
    measure=_measure,
)
