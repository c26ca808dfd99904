"""Whether the output's change falls with the width, against the regime, at the last step that is checked."""

from __future__ import annotations

from typing import Final

from ipcore.analysis.case import Case, Kind
from ipcore.analysis.coordinate_report import Prediction
from ipcore.analysis.kinds.coordinates import COORDINATES, hold
from ipcore.analysis.report import Check, Report
from ipcore.analysis.stationarity import check_stationarity
from ipcore.analysis.verdicts import FALL, Judgement
from ipcore.errors import AnalysisError

_NAME: Final = "STATIONARITY"


def _find(case: Case) -> Report:
    held = case.once(hold)
    if isinstance(case.analysis, str) or held is None:
        return Report()
    last = max(held.steps, default=0)
    output = quantity, layer, step = "h_change", case.subject.layers, last
    if last == 0 or output not in case.samples:
        return Report()
    slope = next((c for c in held.report.coordinates if (c.quantity, c.layer, c.step) == output), None)
    try:
        found = check_stationarity(
            case.samples[output],
            held.predictions.get(last, Prediction(case.analysis)),
            last,
            slope=None if slope is None else Judgement(slope.verdict, slope.why),
        )
    except AnalysisError:
        return Report()  # the coordinate check has a note on it
    check = Check.of(
        _NAME,
        case.subject,
        found.fit,
        found.verdict,
        found.sentence,
        quantity=quantity,
        layer=layer,
        step=step,
        tolerance=abs(FALL),
    )
    return Report((check,))


STATIONARITY: Final = Kind(
    _NAME,
    applies=lambda case: bool(case.steps),
    find=_find,
    probe=COORDINATES.probe,
    reads=COORDINATES.reads,
)
