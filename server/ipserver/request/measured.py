"""Metrics that the runs of a study record."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from ipcore import studies
from ipcore.catalogue import PROBES
from ipcore.probes.quantities import QUANTITIES, definition

# Metrics that need no probe: they are in summaries, or computed from stored weights.
_ALWAYS: Final = frozenset(
    {studies.FINAL_LOSS.quantity, studies.FIRST_LOSS.quantity, studies.FINAL_ACCURACY.quantity}
) | {studies.CALIBRATED, studies.OUTPUTS, studies.FINAL_LIMIT_ERROR.quantity}
_UPDATES: Final = frozenset({studies.ISOLATED, studies.ISOLATED_BIAS})


def metrics_of(question: studies.Question) -> tuple[studies.Metric, ...]:
    """The metrics that every run of the study records, independent of its budget."""
    decision = studies.plan(replace(question, budget=studies.Budget()), studies.Results())
    return decision.metrics if isinstance(decision, studies.RunNext) else ()


def probe_of(metric: studies.Metric) -> str | None:
    """The probe that records a metric; "" if none is needed; None if this version cannot record it."""
    return "" if metric.quantity in _ALWAYS else _probed().get(metric.quantity)


def recorded_step(metric: studies.Metric) -> int:
    """Step at which a run records a metric. The update of step t leads to state t + 1."""
    return metric.step + (metric.quantity in _UPDATES)


@functools.cache
def _probed() -> dict[str, str]:
    inside = {quantity.name: probe for probe, named in QUANTITIES.items() for quantity in named}
    sums = {name.partition("/")[0]: probe for probe in PROBES for name in definition(probe).metrics}
    return inside | sums
