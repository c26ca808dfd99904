"""Files of figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iplab.report import Report


def save_report(report: Report, file: str | Path, kind: str | None = None) -> None:
    """Save a figure of a report: its coordinates if it has any, else the drift of the best rate, and so on.

    Args:
        report: What to draw.
        file: Ends in .svg, .png, .pdf, or .csv for the numbers.
        kind: See `Report.plot`.

    Raises:
        ValueError: Nothing to draw, or another kind of file.
        ImportError: matplotlib is missing.
    """
    report.plot(kind).save(file)
