"""Calibrated first rates: by which power of the width they grow, layer by layer."""

from __future__ import annotations

from dataclasses import replace

from ipcore.studies import predictions
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import READOUT_FACTOR, slope_rung, trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Line
from ipcore.studies.question import SLOPE_TOLERANCE, CalibratedRates
from ipcore.studies.results import CALIBRATED, Metric
from ipcore.studies.subjects import Subject


def calibrated_rates(question: CalibratedRates) -> tuple[Line, ...]:
    """One ladder per subject; rates of different seeds differ much, so tau is twice that of sizes."""
    return tuple(
        Ladder(
            str(subject),
            Design(
                (replace(trainee_of(subject, 1), calibrated=True),), (subject.rate,), question.first_widths
            ),
            _rungs(question, subject),
            question.max_width,
        )
        for subject in question.subjects
    )


def _rungs(question: CalibratedRates, subject: Subject) -> tuple[Rung, ...]:
    analysis = predictions.analyze(subject, question.setting)
    tolerance = SLOPE_TOLERANCE * READOUT_FACTOR if question.tolerance is None else question.tolerance
    return tuple(
        slope_rung(
            subject,
            f"calibrated rate of layer {layer}",
            Metric(CALIBRATED, layer),
            predictions.calibrated_rate(analysis, layer),
            tolerance,
        )
        for layer in range(2, subject.layers + 1)
    )
