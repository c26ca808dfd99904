"""A run's summary from its points, slice by slice. Where slices begin and end does not change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ipserver.store.records import Summary

_OF_TRAINING = "train_loss"
_OF_STATES = frozenset({"test_loss", "test_accuracy", "validation_loss", "validation_accuracy"})


def fold(summaries: dict[int, Summary], rows: Iterable[tuple[int, str, int, float]], last_step: int) -> None:
    """Bring summaries up to date, in place.

    Args:
        summaries: By run.
        rows: (run, metric, step, value), ascending in step; points of one run and step are all here or not
            at all, in any order.
        last_step: Number of updates asked for: metrics at it are final.
    """
    evaluations: dict[tuple[int, int], dict[str, float]] = {}
    for run, metric, step, value in rows:
        if metric == _OF_TRAINING:
            summaries[run] = replace(summaries[run], last_train_loss=value)
        elif metric in _OF_STATES:
            evaluations.setdefault((run, step), {})[metric] = value
    for (run, step), values in evaluations.items():
        summaries[run] = evaluated(summaries[run], values, step, final=step == last_step)


def evaluated(old: Summary, values: Mapping[str, float], step: int, *, final: bool) -> Summary:
    """A summary after one more evaluation.

    Args:
        old: Of the steps before.
        values: Test and validation metrics at `step`; those that were not finite are missing.
        step: Updates done.
        final: Whether these are the final weights.
    """
    new = replace(
        old,
        best_test_loss=_best(min, old.best_test_loss, values.get("test_loss")),
        best_test_accuracy=_best(max, old.best_test_accuracy, values.get("test_accuracy")),
        best_validation_loss=_best(min, old.best_validation_loss, values.get("validation_loss")),
        best_validation_accuracy=_best(max, old.best_validation_accuracy, values.get("validation_accuracy")),
    )
    if final:
        new = replace(
            new, final_test_loss=values.get("test_loss"), final_test_accuracy=values.get("test_accuracy")
        )
    # Where there are classes, the accuracy decides: the loss may grow with the logits while it does not.
    best = "best_validation_accuracy" if new.best_validation_accuracy is not None else "best_validation_loss"
    if getattr(new, best) == getattr(old, best):
        return new  # nothing better, or as good as an earlier one: the first counts
    return replace(
        new,
        best_validation_step=step,
        test_loss_at_best_validation=values.get("test_loss"),
        test_accuracy_at_best_validation=values.get("test_accuracy"),
    )


def _best(better: Callable[[float, float], float], old: float | None, value: float | None) -> float | None:
    if old is None or value is None:
        return old if value is None else value
    return better(old, value)
