"""Summaries of runs, updated from their points slice by slice. Slice boundaries do not affect them.

`ipserver.store.summary` declares which point becomes which value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from ipserver.store.summary import RULES, Keep, Summary, names

_NEWEST: Final = names(Keep.NEWEST)
_TRAINED: Final = frozenset(_NEWEST.values())
_BEST: Final = [(name, metric, min) for name, metric in names(Keep.SMALLEST).items()] + [
    (name, metric, max) for name, metric in names(Keep.LARGEST).items()
]
_FINAL: Final = names(Keep.FINAL)
_AT_BEST: Final = names(Keep.AT_BEST_VALIDATION)
_EVALUATED: Final = frozenset(rule.metric for rule in RULES.values() if rule.keep is not Keep.NEWEST)


def fold(summaries: dict[int, Summary], rows: Iterable[tuple[int, str, int, float]], last_step: int) -> None:
    """Update summaries in place.

    Args:
        summaries: Summaries by run.
        rows: (run, metric, step, value) by ascending step. Points of one run and step are either all included
            or all missing, in any order.
        last_step: Number of requested updates; metrics at this step are final.
    """
    evaluations: dict[tuple[int, int], dict[str, float]] = {}
    newest: dict[int, dict[str, float]] = {}
    for run, metric, step, value in rows:
        if metric in _EVALUATED:
            evaluations.setdefault((run, step), {})[metric] = value
        if metric in _TRAINED:
            newest.setdefault(run, {})[metric] = value
    for (run, step), values in evaluations.items():
        summaries[run] = evaluated(summaries[run], values, step, final=step == last_step)
    for run, values in newest.items():
        changes: dict[str, Any] = {name: values[m] for name, m in _NEWEST.items() if m in values}
        summaries[run] = replace(summaries[run], **changes)


def evaluated(old: Summary, values: Mapping[str, float], step: int, *, final: bool) -> Summary:
    """The summary after one more evaluation.

    Args:
        old: Summary of the earlier steps.
        values: Finite test and validation metrics at `step`.
        step: Number of updates done.
        final: Whether the metrics are of the final weights.
    """
    changes: dict[str, Any] = {
        name: _best(better, getattr(old, name), values.get(metric)) for name, metric, better in _BEST
    }
    if final:
        changes |= {name: values.get(metric) for name, metric in _FINAL.items()}
    new = replace(old, **changes)
    # With classes the accuracy decides: the loss may grow with the logits while the accuracy stays.
    best = "best_validation_accuracy" if new.best_validation_accuracy is not None else "best_validation_loss"
    if getattr(new, best) == getattr(old, best):
        return new  # not better than an earlier step; the first of equal steps counts
    there: dict[str, Any] = {name: values.get(metric) for name, metric in _AT_BEST.items()}
    return replace(new, best_validation_step=step, **there)


def _best(better: Callable[[float, float], float], old: float | None, value: float | None) -> float | None:
    if old is None or value is None:
        return old if value is None else value
    return better(old, value)
