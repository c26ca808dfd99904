"""Sizes of preactivations and of their changes against their exponents.

Without a prediction, slopes are measured without a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ipcore import theory
from ipcore.analysis.case import Case, Kind
from ipcore.analysis.coordinate_check import check_coordinates
from ipcore.analysis.coordinate_report import CoordinateReport, Prediction
from ipcore.analysis.epsilon import predictions_at
from ipcore.analysis.measured_slopes import measure_coordinates
from ipcore.analysis.report import Check, Conclusion, Report
from ipcore.analysis.verdicts import Verdict
from ipcore.errors import AnalysisError

_NAME: Final = "COORDINATE"


@dataclass(frozen=True, slots=True)
class Held:
    """Coordinates of a case, compared with theory.

    Attributes:
        steps: Those of the case that can be checked.
        predictions: By step, where something other than the limit holds at these widths.
        report: The result.
        notes: What is not checked, and the predictions that were used.
    """

    steps: tuple[int, ...]
    predictions: Mapping[int, Prediction]
    report: CoordinateReport
    notes: tuple[str, ...]


def hold(case: Case) -> Held | None:
    """Compare the coordinates of a case with theory; None if theory does not cover it, or there are none."""
    analysis = case.analysis
    if isinstance(analysis, str) or not case.samples:
        return None
    notes: tuple[str, ...] = ()
    short = case.calibrated and any(not layer.aligned for layer in analysis.alignment)
    if short:
        notes = (
            "changes are not checked: calibration makes up for missing alignment, so first updates are "
            "larger than the exponents say; see the calibrated rates",
        )
    # The effect of weight decay on changes is noted once, for all subjects.
    changes = not (short or case.trained.weight_decay)
    steps = case.steps if changes else tuple(step for step in case.steps if step == 0)
    predictions, more = with_epsilon(case, steps)
    found = check_coordinates(
        case.samples,
        analysis,
        tolerance=case.tolerance,
        readout_tolerance=2 * case.tolerance,
        predictions=predictions,
        steps=steps,
    )
    return Held(steps, predictions, found, (*notes, *more, *found.notes))


def _find(case: Case) -> Report:
    if isinstance(case.analysis, str):
        return _measure(case)
    held = case.once(hold)
    if held is None:
        return Report(notes=("no run has recorded coordinates yet at the steps that are checked",))
    checks = tuple(
        Check.of(
            _NAME,
            case.subject,
            one.fit,
            one.verdict,
            one.sentence,
            quantity=one.quantity,
            layer=one.layer,
            step=one.step,
            predicted=one.predicted,
            upper_bound=not one.exact,
            tolerance=one.tolerance,
            expected=one.expected,
        )
        for one in held.report.coordinates
    )
    conclusion = Conclusion(case.subject, held.report.verdict, held.report.conclusion)
    return Report(checks, (conclusion,), held.notes)


def with_epsilon(case: Case, steps: tuple[int, ...]) -> tuple[Mapping[int, Prediction], tuple[str, ...]]:
    """With Adam, predictions at each step for the side of epsilon that the measured gradients show."""
    if not case.trained.has_epsilon:
        return {}, ()

    def analyze(epsilon: tuple[str, ...]) -> theory.Analysis:
        found = case.analyze(epsilon, ())
        if isinstance(found, str):  # no epsilon makes theory cover less
            raise AnalysisError(found)
        return found

    return predictions_at(case.samples, analyze, case.trained.epsilon, steps)


def _measure(case: Case) -> Report:
    found, notes = measure_coordinates(case.samples, case.subject.layers)
    checks = tuple(
        Check.of(
            _NAME,
            case.subject,
            one.fit,
            Verdict.UNDECIDED,
            one.sentence,
            quantity=one.quantity,
            layer=one.layer,
            step=one.step,
        )
        for one in found
    )
    return Report(checks, notes=notes)


COORDINATES: Final = Kind(
    _NAME,
    applies=lambda case: bool(case.steps),
    find=_find,
    probe="coordinates",
    missing=(
        "coordinates and stationarity are not checked: nothing was recorded for them; add "
        "record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]} to the spec"
    ),
    # Parts of the changes, and gradients beside epsilon, say which prediction holds at the widths measured.
    reads=("h", "h_change", "change_below", "change_own", "gradient"),
)
