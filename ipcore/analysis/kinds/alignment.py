"""Alignment of matrices with their inputs, against the derived exponents; theory is applied with it."""

from __future__ import annotations

from typing import Final

from ipcore import theory
from ipcore.analysis.alignment_check import EXPONENTS, check_alignment
from ipcore.analysis.case import Case, Kind
from ipcore.analysis.report import Check, Conclusion, Report
from ipcore.errors import AnalysisError

_NAME: Final = "ALIGNMENT"


def _find(case: Case) -> Report:
    analysis = case.analysis
    if isinstance(analysis, str):
        return Report()

    def analyze(bounds: tuple[theory.Alignment, ...]) -> theory.Analysis:
        found = case.analyze(analysis.epsilon, bounds)
        if isinstance(found, str):
            raise AnalysisError(found)
        return found

    try:
        found = check_alignment(
            case.samples,
            analysis,
            analyze,
            tolerance=case.tolerance,
            readout_tolerance=2 * case.tolerance,
            steps=case.steps,
        )
    except AnalysisError as error:  # an initial mean, which given alignment does not cover
        return Report(notes=(f"alignment: {error}",))
    checks = tuple(
        Check.of(
            _NAME,
            case.subject,
            theta.fit,
            theta.verdict,
            theta.sentence,
            quantity=theta.quantity,
            layer=theta.layer,
            step=theta.step,
            predicted=theta.low,
            predicted_high=None if theta.low == theta.high else theta.high,
            tolerance=theta.tolerance,
        )
        for theta in found.thetas
    )
    conclusion = Conclusion(case.subject, found.verdict, found.conclusion)
    return Report(checks, notes=found.notes, alignments=(conclusion,))


ALIGNMENT: Final = Kind(
    _NAME,
    applies=lambda case: bool(case.steps),
    find=_find,
    probe="alignment",
    missing="alignment is not checked: it was not recorded; add alignment to record.probes.quantities",
    reads=tuple(EXPONENTS),
    asked=True,
)
