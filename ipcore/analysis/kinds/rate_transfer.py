"""Drift of the best base learning rate against the largest stable rate."""

from __future__ import annotations

import math
from typing import Final

from ipcore.analysis.best_rates import NotBracketed
from ipcore.analysis.case import Case, Kind
from ipcore.analysis.predicted_drift import PredictedDrift, predicted_drift
from ipcore.analysis.rate_transfer import check_rate_transfer
from ipcore.analysis.report import Check, Report, WidthValue, finite
from ipcore.analysis.verdicts import Verdict
from ipcore.errors import AnalysisError

MIN_RATES: Final = 3
_NAME: Final = "RATE_TRANSFER"


def _applies(case: Case) -> bool:
    return len({run.base_learning_rate for run in case.runs}) >= MIN_RATES


def _find(case: Case) -> Report:
    drift = _predicted(case)
    try:
        found = check_rate_transfer(_losses(case), drift)
    except NotBracketed as error:
        check = Check(
            kind=_NAME,
            subject=case.subject,
            slope=None,
            low=None,
            high=None,
            verdict=Verdict.NOT_BRACKETED,
            sentence=str(error),
            points=tuple(WidthValue(m, rate) for m, rate in zip(error.widths, error.best, strict=True)),
            seeds=error.seeds,
            predicted=None if isinstance(drift, str) else drift.low,
            predicted_high=None if isinstance(drift, str) else drift.high,
        )
        return Report((check,))
    except AnalysisError as error:
        return Report(notes=(f"rate transfer: {error}",))
    check = Check(
        kind=_NAME,
        subject=case.subject,
        slope=finite(found.drift.value),
        low=finite(found.drift.low),
        high=finite(found.drift.high),
        verdict=found.verdict,
        sentence=found.sentence,
        points=tuple(
            WidthValue(m, rate, *ends)
            for m, rate, ends in zip(
                found.widths, found.best, found.ends or ((),) * len(found.widths), strict=True
            )
        ),
        seeds=found.seeds,
        predicted=None if found.predicted is None else found.predicted.low,
        predicted_high=None if found.predicted is None else found.predicted.high,
        tolerance=found.tolerance,
    )
    return Report((check,), notes=found.warnings)


def _predicted(case: Case) -> PredictedDrift | str:
    """The predicted drift, or why there is none: with Adam the limit may begin beyond these widths."""
    analysis = case.analysis
    if isinstance(analysis, str):
        return analysis
    limit = predicted_drift(analysis, calibrated=case.calibrated)
    if not case.trained.has_epsilon:
        return limit
    signs = case.analyze(("negligible",) * len(analysis.parameterization.a), ())
    small = signs if isinstance(signs, str) else predicted_drift(signs, calibrated=case.calibrated)
    if small == limit or isinstance(small, str):
        return limit
    said = f"({limit})" if isinstance(limit, str) else str(limit)
    return (
        f"theory predicts {small} while Adam's epsilon is small beside the gradients and {said} in the "
        "limit, where it is not; sizes of gradients say which holds at these widths (a coordinate check with "
        "gradients in record.probes.quantities)"
    )


def _losses(case: Case) -> dict[tuple[int, float, int], float]:
    """Final test loss by (width, rate, seed): NaN if the run diverged, no entry if it has not ended."""
    losses = {}
    for run in case.runs:
        key = run.width, run.base_learning_rate, run.seed
        if run.diverged:
            losses[key] = math.nan
        elif run.final_test_loss is not None:
            losses[key] = run.final_test_loss
    return losses


RATE_TRANSFER: Final = Kind(_NAME, applies=_applies, find=_find)
