"""Calibrated first rates against the alignment of their layers."""

from __future__ import annotations

import math
from typing import Final

from ipcore.analysis.calibrated_rates import check_calibrated_rates
from ipcore.analysis.case import Case, Kind
from ipcore.analysis.report import Check, Report
from ipcore.analysis.samples import Samples
from ipcore.errors import AnalysisError

_NAME: Final = "CALIBRATED_RATE"
_CAPPED: Final = 1 - 1e-6


def _find(case: Case) -> Report:
    if isinstance(case.analysis, str) or case.cap is None:
        return Report()
    values: dict[int, dict[tuple[int, int], float]] = {}
    capped = 0
    for run in case.runs:
        for layer, base in enumerate(run.calibrated_rates[1:], start=2):
            at_cap = base >= case.cap * _CAPPED
            capped += at_cap
            values.setdefault(layer, {})[run.width, run.seed] = math.nan if at_cap else base
    checks: list[Check] = []
    notes: list[str] = []
    if capped:
        notes.append(
            f"{capped} calibrated rates are left out: they are the cap {case.cap:g}, no measurement; raise "
            "calibration.cap to see them"
        )
    for layer, by_run in values.items():
        samples = {layer: Samples.of(by_run)}
        try:
            found = check_calibrated_rates(samples, case.analysis, tolerance=2 * case.tolerance)
        except AnalysisError as error:
            notes.append(f"calibrated rate of layer {layer}: {error}")
            continue
        checks += [
            Check.of(
                _NAME,
                case.subject,
                rate.fit,
                rate.verdict,
                rate.sentence,
                layer=layer,
                predicted=rate.predicted,
                tolerance=rate.tolerance,
            )
            for rate in found
        ]
    return Report(tuple(checks), notes=tuple(notes))


CALIBRATED_RATES: Final = Kind(_NAME, applies=lambda case: case.calibrated, find=_find)
