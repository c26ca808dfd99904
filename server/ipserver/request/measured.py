"""What the runs of a study record."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from ipcore import studies
from ipcore.catalogue import PROBES
from ipcore.probes.quantities import QUANTITIES, definition

# What runs record without a probe: in their summaries, or in the weights that they keep.
_ALWAYS: Final = frozenset(
    {studies.FINAL_LOSS.quantity, studies.FIRST_LOSS.quantity, studies.FINAL_ACCURACY.quantity}
) | {studies.CALIBRATED, studies.OUTPUTS, studies.FINAL_LIMIT_ERROR.quantity}
_UPDATES: Final = frozenset({studies.ISOLATED, studies.ISOLATED_BIAS})


def metrics_of(question: studies.Question) -> tuple[studies.Metric, ...]:
    """What every run of the study records, whatever it may spend."""
    decision = studies.plan(replace(question, budget=studies.Budget()), studies.Results())
    return decision.metrics if isinstance(decision, studies.RunNext) else ()


def probe_of(metric: studies.Metric) -> str | None:
    """The probe that records a metric, "" if every run does; None: this version does not record it."""
    return "" if metric.quantity in _ALWAYS else _probed().get(metric.quantity)


def recorded_step(metric: studies.Metric) -> int:
    """Step at which a run records a metric: an update by the rates of step t leads to state t + 1."""
    return metric.step + (metric.quantity in _UPDATES)


@functools.cache
def _probed() -> dict[str, str]:
    inside = {quantity.name: probe for probe, named in QUANTITIES.items() for quantity in named}
    sums = {name.partition("/")[0]: probe for probe in PROBES for name in definition(probe).metrics}
    return inside | sums
