"""Kinds of questions: from each to the lines of inquiry that answer it.

To add a kind: a dataclass in `ipcore/studies/question.py`, a file here with a function from it to lines, and
an entry below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ipcore.studies.kinds.activation_gap import activation_gap
from ipcore.studies.kinds.calibrated import calibrated_rates
from ipcore.studies.kinds.coordinates import coordinate_check
from ipcore.studies.kinds.equivalence import equivalence
from ipcore.studies.kinds.infinite_width import infinite_width
from ipcore.studies.kinds.limit import limit
from ipcore.studies.kinds.phase_boundary import phase_boundary
from ipcore.studies.kinds.rate_transfer import rate_transfer
from ipcore.studies.kinds.stationarity import stationarity
from ipcore.studies.line import Line
from ipcore.studies.question import Question

_LINES: Final[Mapping[str, Callable[[Any], tuple[Line, ...]]]] = {
    "coordinate-check": coordinate_check,
    "rate-transfer": rate_transfer,
    "stationarity": stationarity,
    "equivalence": equivalence,
    "calibrated-rates": calibrated_rates,
    "activation-gap": activation_gap,
    "phase-boundary": phase_boundary,
    "limit": limit,
    "infinite-width": infinite_width,
}


def lines_of(question: Question) -> tuple[Line, ...]:
    """The lines of a question."""
    return _LINES[question.kind](question)


__all__ = ["lines_of"]
