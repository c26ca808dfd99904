"""Training curves of the authors' five methods with four activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import ipcore
from ipcore.figures import Course, CoursePanel, Courses
from reproduction.data import load
from reproduction.markdown import mean_sd, table
from reproduction.paper.methods import METHODS, calibrated, moment
from reproduction.pictures import svg
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "mnist",
    "batch_size": 512,
    "hidden_layers": 6,
    "width": 256,
    "activations": ["relu", "gelu", "elu", "tanh"],
    "rate": 0.01,
    "seeds": 2,
    "steps": 600,
    "interval": 20,
}
_LOSS: Final = "train_loss"
# Losses above are not drawn.
_HIGHEST: Final = 10.0


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    for done, activation in enumerate(spec["activations"], start=1):
        config = ipcore.PackConfig(
            spec["dataset"],
            spec["hidden_layers"],
            spec["width"],
            activation,
            spec["batch_size"],
            spec["steps"],
            metrics_interval=spec["interval"],
            weights="none",
        )
        runs = [
            (name, calibrated(name, spec["hidden_layers"], spec["rate"], seed))
            for name in METHODS
            for seed in range(spec["seeds"])
        ]
        values: list[dict[str, float]] = [{} for _ in runs]
        trainer = ipcore.Trainer(config, [run for _, run in runs], dataset)
        for position, metric, step, value in trainer.advance().points.rows():
            if metric == _LOSS:
                values[position][f"{metric}@{step}"] = value
            elif metric == "test_accuracy" and step == spec["steps"]:
                values[position][metric] = value
        for (name, run), own in zip(runs, values, strict=True):
            yield Measured(
                name, spec["hidden_layers"], spec["width"], activation, spec["rate"], run.seed, own
            )
        progress(done / len(spec["activations"]))


def _section(result: Result) -> Section:
    spec = result.spec
    rows = [
        [
            name,
            *(
                mean_sd(
                    [
                        run.values["test_accuracy"]
                        for run in result.select(parameterization=name, activation=activation)
                        if "test_accuracy" in run.values
                    ]
                )
                for activation in spec["activations"]
            ),
        ]
        for name in METHODS
    ]
    text = [
        f"The authors' setting of 2021 ({spec['hidden_layers']} hidden layers, batches of "
        f"{spec['batch_size']}, {spec['steps']} updates at base rate {spec['rate']}, first rates of IP-LLR "
        f"calibrated with readout target 0.1 and cap 500) at width {spec['width']} on {spec['dataset']}, "
        f"{spec['seeds']} seeds. Test accuracy of the last weights:",
        table(["", *spec["activations"]], rows),
    ]
    return Section("\n\n".join(text), {"curves.svg": svg(_picture(result))})


def _picture(result: Result) -> Courses:
    spec, panels = result.spec, []
    for activation in spec["activations"]:
        courses = []
        for name in METHODS:
            runs = result.select(parameterization=name, activation=activation)
            steps = sorted({int(key.partition("@")[2]) for run in runs for key in run.values if "@" in key})
            moments = []
            for step in steps:
                losses = [run.values.get(f"{_LOSS}@{step}", math.nan) for run in runs]
                if all(loss < _HIGHEST for loss in losses):
                    moments.append(moment(step, losses, geometric=True))
            courses.append(Course(name, tuple(moments)))
        panels.append(CoursePanel(activation, tuple(courses)))
    return Courses(
        "training loss",
        tuple(panels),
        2,
        f"Training loss on {spec['dataset']}, width {spec['width']}",
        spec["seeds"],
        meaning=f"Chance: ln 10 = {math.log(10):.3f}. Where a loss is above {_HIGHEST:g} nothing is drawn.",
        logarithmic=True,
    )


STUDY: Final = Study(
    name="training-curves",
    title="Training curves of five methods",
    spec=_SPEC,
    quick=_SPEC | {"dataset": "digits", "batch_size": 128, "width": 64, "steps": 40, "interval": 5},
    section=_section,
    measure=_measure,
)
