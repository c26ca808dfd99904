"""From the checks of a report to figures: one code for the client's reports and for `ipcore.analysis`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ipcore.figures.picture import PictureError
from ipcore.figures.powers import PowerLaws
from ipcore.figures.reports.checks import CheckLike
from ipcore.figures.reports.kinds import KINDS


def report_pictures(checks: Iterable[CheckLike], meanings: Iterable[str] = ()) -> dict[str, PowerLaws]:
    """Every figure that the checks of a report give, by the name of its kind, the most telling first.

    Args:
        checks: Of one report.
        meanings: Sentences of its conclusions, for captions.
    """
    listed = list(checks)
    found = {}
    for name, (kind, make) in KINDS.items():
        chosen = [check for check in listed if check.kind == kind]
        if chosen:
            found[name] = make(chosen, listed, tuple(meanings))
    return found


REPORT_KINDS: Final = tuple(KINDS)


def choose(found: Mapping[str, PowerLaws], kind: str | None) -> PowerLaws:
    """One of the figures of a report.

    Args:
        found: Of `report_pictures`.
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
