"""Made-up results of runs. They do not follow theory; equal settings have equal numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from iplab.v1 import run_pb2, spec_pb2

TRAINING: Final = ("train_loss", "train_accuracy")
TEST: Final = ("test_loss", "test_accuracy")
METRICS: Final = (*TRAINING, *TEST)
_METRICS_INTERVAL: Final = 10


def value(metric: str, run: run_pb2.Run, step: int) -> float:
    """Losses fall from 2.4 towards 0.5, accuracies rise from 0.1 towards 0.9."""
    axes = (
        run.parameterization,
        run.hidden_layers,
        run.width,
        run.activation,
        run.base_learning_rate,
        run.seed,
    )
    digest = hashlib.sha256(repr((metric, axes, step)).encode()).digest()
    noise = int.from_bytes(digest[:4], "big") / 2**32
    progress = step / run.steps
    return (
        0.1 + 0.75 * progress + 0.05 * noise
        if metric.endswith("accuracy")
        else 2.3 - 1.8 * progress + 0.1 * noise
    )


def steps_of(metric: str, spec: spec_pb2.ExperimentSpec) -> Iterator[int]:
    """Steps at which a metric is recorded, ascending."""
    if metric in TRAINING:
        interval = spec.record.metrics_interval or _METRICS_INTERVAL
        yield from sorted({1, *range(interval, spec.steps + 1, interval), spec.steps})
    else:
        interval = spec.evaluation_interval or spec.steps
        yield from sorted({*range(0, spec.steps + 1, interval), spec.steps})


def summarize(run: run_pb2.Run, spec: spec_pb2.ExperimentSpec) -> None:
    """Fill in the summary of a run that has reached its last step."""
    last = run.steps
    run.summary.last_train_loss = value("train_loss", run, last)
    run.summary.final_test_loss = value("test_loss", run, last)
    run.summary.final_test_accuracy = value("test_accuracy", run, last)
    for name, best in (("test_loss", min), ("test_accuracy", max)):
        values: Sequence[float] = [value(name, run, step) for step in steps_of(name, spec)]
        setattr(run.summary, f"best_{name}", best(values))
