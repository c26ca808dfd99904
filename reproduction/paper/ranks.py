"""Ranks of updates and of activations, after the first update and later, for the authors' five methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import mean
from typing import Any, Final

import ipcore
from ipcore.config import Probes
from ipcore.figures import Course, CoursePanel, Courses
from reproduction.data import load
from reproduction.markdown import table
from reproduction.paper.methods import METHODS, calibrated, moment
from reproduction.pictures import svg
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 128,
    "hidden_layers": 6,
    "width": 256,
    "activations": ["relu", "gelu"],
    "rate": 0.1,
    "seeds": 3,
    "steps": [1, 10, 100],
    "examples": 128,
}
_ESTIMATES: Final = ("squared_trace_rank", "stable_rank", "threshold_rank")
_MATRICES: Final = {"update": "Wₜ − W₀", "x": "xₜ"}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    probes = Probes(("ranks",), steps=tuple(spec["steps"]), examples=spec["examples"])
    for done, activation in enumerate(spec["activations"], start=1):
        config = ipcore.PackConfig(
            spec["dataset"],
            spec["hidden_layers"],
            spec["width"],
            activation,
            spec["batch_size"],
            max(spec["steps"]),
            weights="none",
            probes=probes,
        )
        runs = [
            (name, calibrated(name, spec["hidden_layers"], spec["rate"], seed))
            for name in METHODS
            for seed in range(spec["seeds"])
        ]
        values: list[dict[str, float]] = [{} for _ in runs]
        trainer = ipcore.Trainer(config, [run for _, run in runs], dataset)
        for position, metric, step, value in trainer.advance().points.rows():
            if metric.partition("/")[0].endswith("_rank"):
                values[position][f"{metric}@{step}"] = value
        for (name, run), own in zip(runs, values, strict=True):
            yield Measured(
                name, spec["hidden_layers"], spec["width"], activation, spec["rate"], run.seed, own
            )
        progress(done / len(spec["activations"]))


def _values(result: Result, metric: str, step: int, **chosen: object) -> list[float]:
    found = (run.values.get(f"{metric}@{step}") for run in result.select(**chosen))
    return [value for value in found if value is not None]


def _section(result: Result) -> Section:
    spec, rows = result.spec, []
    middle = (spec["hidden_layers"] + 2) // 2
    for activation in spec["activations"]:
        for name in METHODS:
            cells = []
            for matrix in _MATRICES:
                for step in (spec["steps"][0], spec["steps"][-1]):
                    found = [
                        _values(
                            result,
                            f"{matrix}_{one}/{middle}",
                            step,
                            activation=activation,
                            parameterization=name,
                        )
                        for one in _ESTIMATES
                    ]
                    cells.append(" / ".join(f"{mean(values):.1f}" if values else "-" for values in found))
            rows.append([f"{name}, {activation}", *cells])
    head = [
        f"{matrix}, step {step}"
        for matrix in ("W_t - W_0", "x_t")
        for step in (spec["steps"][0], spec["steps"][-1])
    ]
    text = [
        "Three estimates of a rank, as in the authors' notebooks: (sum s^2)^2 / sum s^4, sum s^2 / max s^2, "
        "and the number of s^2 above 1e-3 of the largest, with s the singular values. The first update of a "
        f"matrix is a sum of one rank-one term for each of the {spec['batch_size']} examples of a batch. "
        f"Networks with {spec['hidden_layers']} hidden layers of width {spec['width']} on "
        f"{spec['dataset']}, base rate {spec['rate']}; matrix and layer {middle}, mean of {spec['seeds']} "
        f"seeds; activations of {spec['examples']} training inputs, not centred.",
        table(["", *head], rows),
    ]
    return Section("\n\n".join(text), {"ranks.svg": svg(_picture(result))})


def _picture(result: Result) -> Courses:
    """Squared-trace rank by layer: a row for each matrix, a column for each activation and step."""
    spec, panels = result.spec, []
    steps = (spec["steps"][0], spec["steps"][-1])
    for matrix, layers in (
        ("update", range(1, spec["hidden_layers"] + 2)),
        ("x", range(1, spec["hidden_layers"] + 1)),
    ):
        for activation in spec["activations"]:
            for step in steps:
                courses = []
                for name in METHODS:
                    moments = []
                    for layer in layers:
                        metric = f"{matrix}_squared_trace_rank/{layer}"
                        values = _values(result, metric, step, activation=activation, parameterization=name)
                        if values:
                            moments.append(moment(layer, values, geometric=True))
                    courses.append(Course(name, tuple(moments)))
                panels.append(CoursePanel(f"{activation}, step {step}", tuple(courses)))
    return Courses(
        "squared-trace rank",
        tuple(panels),
        len(spec["activations"]) * len(steps),
        f"Ranks after {steps[0]} and {steps[1]} updates",
        spec["seeds"],
        horizontal="layer l",
        logarithmic=True,
        headings=tuple(f"rank of {name}" for name in _MATRICES.values()),
    )


STUDY: Final = Study(
    name="ranks",
    title="Ranks of updates and of activations",
    spec=_SPEC,
    quick=_SPEC | {"width": 64, "seeds": 2, "steps": [1, 10]},
    section=_section,
    measure=_measure,
)
