"""Rate transfer: the best base rate is bracketed at every width, then its drift is measured seed by seed."""

from __future__ import annotations

from ipcore.studies import predictions
from ipcore.studies.drift import Drift
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.line import Line
from ipcore.studies.question import DRIFT_TOLERANCE, RateTransfer
from ipcore.studies.rate_grid import RateGrid


def rate_transfer(question: RateTransfer) -> tuple[Line, ...]:
    """One drift per subject."""
    tolerance = DRIFT_TOLERANCE if question.tolerance is None else question.tolerance
    return tuple(
        Drift(
            str(subject),
            RateGrid(trainee_of(subject, question.setting.steps), subject.rate, question.first_widths),
            predictions.drift(predictions.analyze(subject, question.setting), calibrated=subject.calibrated),
            tolerance,
        )
        for subject in question.subjects
    )
