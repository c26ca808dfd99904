"""Functions of one variable that networks of each method learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch

import ipcore
from ipcore.data import Dataset, Split
from ipcore.figures import Course, CoursePanel, Courses, Moment, Role
from reproduction.markdown import table
from reproduction.paper.methods import calibrated, moment
from reproduction.pictures import svg
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "methods": ["ip", "ip-llr", "mup", "ntk"],
    "activations": ["relu", "tanh"],
    "hidden_layers": 3,
    "width": 256,
    "examples": 32,
    "steps": 1000,
    # log2 of the base rates that are tried; of each method the one with the least training loss is shown.
    "rates": [-9, -7, -5, -3, -1, 1],
    "seeds": 4,
    "places": 65,
}


def target(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """sin(2 pi x) on [-1, 1]: two periods."""
    return np.sin(2 * math.pi * x)


def dataset(examples: int) -> Dataset:
    """Evenly spaced inputs in [-1, 1] with the target's values; tested on the points between."""
    x = np.linspace(-1, 1, examples)
    between = (x[1:] + x[:-1]) / 2
    train, test = (
        Split(points[:, None].astype(np.float32), target(points)[:, None].astype(np.float32))
        for points in (x, between)
    )
    return Dataset("sine", train, test, classes=0)


def places(spec: Spec) -> list[float]:
    """Where functions are looked at: also a quarter beyond the examples."""
    return [round(x, 6) for x in np.linspace(-1.25, 1.25, spec["places"]).tolist()]


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    data, grid = dataset(spec["examples"]), places(spec)
    inputs = torch.tensor(grid, dtype=torch.float32)[:, None]
    for done, activation in enumerate(spec["activations"], start=1):
        config = ipcore.PackConfig(
            data.name,
            spec["hidden_layers"],
            spec["width"],
            activation,
            spec["examples"],
            spec["steps"],
            loss="mse",
            metrics_interval=spec["steps"],
            weights="none",
        )
        runs = [
            (name, calibrated(name, spec["hidden_layers"], 2.0**rate, seed))
            for name in spec["methods"]
            for rate in spec["rates"]
            for seed in range(spec["seeds"])
        ]
        trainer = ipcore.Trainer(config, [run for _, run in runs], data)
        losses = {
            position: value
            for position, metric, step, value in trainer.advance().points.rows()
            if metric == "train_loss" and step == spec["steps"]
        }
        outputs = trainer.pack.infer(inputs)[..., 0].tolist()
        for position, ((name, run), f) in enumerate(zip(runs, outputs, strict=True)):
            values = {}
            if math.isfinite(losses.get(position, math.nan)):
                values = {"train_loss": losses[position]}
                values |= {f"f@{place}": value for place, value in enumerate(f)}
            yield Measured(
                name,
                spec["hidden_layers"],
                spec["width"],
                activation,
                run.base_learning_rate,
                run.seed,
                values,
            )
        progress(done / len(spec["activations"]))


def best(result: Result, name: str, activation: str) -> tuple[float, list[Measured]] | None:
    """The base rate with the least mean training loss among those at which no seed diverged, and its runs."""
    found = []
    for rate in sorted({run.rate for run in result.runs}):
        runs = list(result.select(parameterization=name, activation=activation, rate=rate))
        losses = [run.values.get("train_loss", math.nan) for run in runs]
        if all(math.isfinite(loss) for loss in losses):
            found.append((sum(losses) / len(losses), rate, runs))
    if not found:
        return None
    _, rate, runs = min(found, key=lambda entry: entry[0])
    return rate, runs


def _section(result: Result) -> Section:
    spec, rows, panels = result.spec, [], []
    grid = places(spec)
    for activation in spec["activations"]:
        courses = [Course("target", tuple(Moment(x, float(target(np.array(x)))) for x in grid), Role.LIMIT)]
        cells = []
        for name in spec["methods"]:
            chosen = best(result, name, activation)
            if chosen is None:
                cells.append("diverges")
                continue
            rate, runs = chosen
            losses = [run.values["train_loss"] for run in runs]
            cells.append(f"{sum(losses) / len(losses):.2g} (2^{math.log2(rate):.0f})")
            values = ([run.values[f"f@{place}"] for run in runs] for place in range(len(grid)))
            courses.append(Course(name, tuple(map(moment, grid, values))))
        rows.append([activation, *cells])
        panels.append(CoursePanel(activation, tuple(courses)))
    text = [
        f"Regression of sin(2 pi x) from {spec['examples']} evenly spaced points in [-1, 1], squared errors, "
        f"whole batches, {spec['steps']} updates, {spec['hidden_layers']} hidden layers of width "
        f"{spec['width']}, {spec['seeds']} seeds. Of every method the base rate with the least training "
        f"loss is shown, among 2^{min(spec['rates'])}..2^{max(spec['rates'])}. First rates of IP-LLR are "
        "calibrated. Training loss, half the mean squared error (base rate); the constant 0 has 1/4:",
        table(["", *spec["methods"]], rows),
    ]
    picture = Courses(
        "f(x)",
        tuple(panels),
        len(panels),
        f"Functions learned from {spec['examples']} points in [-1, 1]",
        spec["seeds"],
        horizontal="x",
    )
    return Section("\n\n".join(text), {"functions.svg": svg(picture)})


STUDY: Final = Study(
    name="functions",
    title="Functions of one variable",
    spec=_SPEC,
    quick=_SPEC | {"width": 128, "steps": 200, "seeds": 2},
    section=_section,
    measure=_measure,
)
