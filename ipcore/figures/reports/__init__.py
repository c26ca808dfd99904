"""From the checks of a report to figures: one code for the client's reports and for `ipcore.analysis`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ipcore.figures.picture import PictureError
from ipcore.figures.powers import PowerLaws
from ipcore.figures.reports.checks import CheckLike, Said
from ipcore.figures.reports.kinds import KINDS
from ipcore.figures.reports.laws import sentences_of
from ipcore.figures.reports.names import subject_names


def report_pictures(checks: Iterable[CheckLike], conclusions: Iterable[Said] = ()) -> dict[str, PowerLaws]:
    """Every figure of a report's checks, by the name of its kind, the most informative first.

    Args:
        checks: Checks of one report.
        conclusions: Conclusions of the same report, for captions.
    """
    listed, concluded = list(checks), list(conclusions)
    names, _ = subject_names(conclusion.subject for conclusion in concluded)
    meanings = sentences_of(concluded, names)
    found = {}
    for name, (kind, make) in KINDS.items():
        chosen = [check for check in listed if check.kind == kind]
        if chosen:
            found[name] = make(chosen, listed, meanings)
    return found


REPORT_KINDS: Final = tuple(KINDS)


def choose(found: Mapping[str, PowerLaws], kind: str | None) -> PowerLaws:
    """One of the figures of a report.

    Args:
        found: Result of `report_pictures`.
        kind: Its name; None: the first.

    Raises:
        PictureError: There is none of that kind; the message names those that there are.
    """
    if not found:
        raise PictureError("the report has no checks to draw")
    if kind is None:
        return next(iter(found.values()))
    if kind not in found:
        raise PictureError(f"the report has no {kind!r} to draw; it has: {', '.join(found)}")
    return found[kind]
