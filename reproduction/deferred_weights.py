"""Deferred weights: where they take less time than a dense network, and one of width 100,000."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import ipcore
from ipcore.data import Dataset
from ipcore.limits.cost import cost
from ipcore.limits.trainer import LimitTrainer
from ipcore.theory import preset
from reproduction.data import load
from reproduction.kept import kept
from reproduction.markdown import table
from reproduction.study import Measured, Result, Section, Spec, Study

_NAME: Final = "deferred-weights"
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 32,
    "hidden_layers": 3,
    "rate": 0.1,
    "steps": 5,
    "widths": [512, 1024, 2048, 4096],
    "repeats": 1,
    "wide": {"width": 100_000, "steps": 50},
}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    shared = {name: value for name, value in spec.items() if name not in {"widths", "wide"}}
    for i, width in enumerate(spec["widths"]):
        part = shared | {"width": width}
        yield from kept(_NAME, part, lambda width=width: _both(spec, width, dataset))
        progress((i + 1) / (len(spec["widths"]) + 4))
    part = {name: value for name, value in spec.items() if name != "widths"}
    yield from kept(_NAME, part, lambda: _wide(spec, dataset))


def _config(spec: Spec, width: int, steps: int, **more: Any) -> ipcore.PackConfig:
    layers, batch = spec["hidden_layers"], spec["batch_size"]
    config = ipcore.PackConfig(spec["dataset"], layers, width, "relu", batch, steps, weights="none")
    return replace(config, **more)


def _both(spec: Spec, width: int, dataset: Dataset) -> Iterator[Measured]:
    """Seconds of all updates, dense and deferred in turn: the machine does other work as well."""
    for repeat in range(spec["repeats"]):
        run = ipcore.RunConfig(preset("mup", spec["hidden_layers"]), spec["rate"], repeat)
        values = {}
        for name in ("dense", "deferred"):
            config = _config(spec, width, spec["steps"], deferred=name == "deferred")
            make = LimitTrainer if config.deferred else ipcore.Trainer
            trainer = make(config, [run], dataset)
            trainer.advance(max_steps=1)  # with the evaluation of step 0
            begun = time.process_time()
            # The last update's evaluation is left out.
            trainer.advance(max_steps=spec["steps"] - 2)
            values[name] = time.process_time() - begun
        yield Measured("mup", spec["hidden_layers"], width, "relu", spec["rate"], repeat, values)


def _wide(spec: Spec, dataset: Dataset) -> Iterator[Measured]:
    width, steps, layers = spec["wide"]["width"], spec["wide"]["steps"], spec["hidden_layers"]
    config = _config(spec, width, steps, deferred=True, metrics_interval=10, evaluation_interval=25)
    run = ipcore.RunConfig(preset("mup", layers), spec["rate"], 0)
    begun, used = time.monotonic(), time.process_time()
    trainer = LimitTrainer(config, [run], dataset)
    points = trainer.advance().points
    values = {f"{metric}@{step}": value for _, metric, step, value in points.rows()}
    values["seconds"] = time.monotonic() - begun
    values["cpu_seconds"] = time.process_time() - used
    values["estimated_bytes"] = float(cost(config, run, dataset.info).memory_bytes)
    values["state_bytes"] = float(sum(t.numel() * t.element_size() for t in trainer.state().values()))
    yield Measured("mup", layers, width, "relu", spec["rate"], 0, values)


def _seconds(result: Result, width: int) -> tuple[float, float]:
    """CPU seconds of a width, dense and deferred: the least of all repeats."""
    runs = result.select(width=width)
    dense, deferred = (min(run.values[name] for run in runs) for name in ("dense", "deferred"))
    return dense, deferred


def _crossover(result: Result) -> str:
    """Between which widths deferred weights begin to take less time."""
    quicker = {
        m: deferred < dense for m in result.spec["widths"] for dense, deferred in [_seconds(result, m)]
    }
    first = next((m for m, is_quicker in quicker.items() if is_quicker), None)
    if first is None:
        return f"Measured: not up to m = {max(quicker):,}."
    narrower = [m for m in quicker if m < first]
    return (
        f"Measured: from between m = {max(narrower):,} and {first:,} on."
        if narrower
        else f"Measured: from m = {first:,} or less on."
    )


def _section(result: Result) -> Section:
    spec = result.spec
    rows = []
    for width in spec["widths"]:
        dense, deferred = _seconds(result, width)
        rows.append([f"m = {width}", f"{dense:.2f}", f"{deferred:.2f}", f"{deferred / dense:.2f}"])
    seen = spec["steps"] * spec["batch_size"]
    (wide,) = result.select(width=spec["wide"]["width"])
    v, steps = wide.values, spec["wide"]["steps"]
    text = [
        f"CPU seconds of {spec['steps'] - 2} updates of {spec['batch_size']} examples of muP with "
        f"{spec['hidden_layers']} hidden layers, the quicker of {spec['repeats']} each. The estimate is that "
        f"deferred weights take less time where T B < m/6: here from m = {6 * seen:,} on. "
        f"{_crossover(result)}",
        table(["", "dense", "deferred", "ratio"], rows),
        f"Width {wide.width:,}, {steps} updates of {spec['batch_size']} examples: {v['seconds']:.0f} s "
        f"({v['cpu_seconds']:.0f} CPU seconds) with two evaluations; test accuracy "
        f"{v['test_accuracy@0']:.3f} at the start, {v[f'test_accuracy@{steps}']:.3f} at the end. Its state "
        f"is {v['state_bytes'] / 2**30:.2f} GiB, the estimate of all memory was "
        f"{v['estimated_bytes'] / 2**30:.2f} GiB; a dense network's hidden matrices alone would be "
        f"{4 * (spec['hidden_layers'] - 1) * wide.width**2 / 2**30:.0f} GiB.",
    ]
    return Section("\n\n".join(text))


STUDY: Final = Study(
    name=_NAME,
    title="Deferred weights: networks of width 100,000",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128], "steps": 3, "wide": {"width": 2000, "steps": 5}},
    section=_section,
    measure=_measure,
)
