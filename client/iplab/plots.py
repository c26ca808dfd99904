"""Pictures of reports: sizes against width, with the predicted slopes. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from iplab.numbers import SETTING_DIGITS, number
from iplab.report import Check, Report, Subject, Verdict

_MARKERS = {Verdict.AGREES: "o", Verdict.DISAGREES: "X", Verdict.UNDECIDED: ".", Verdict.NOT_YET: "^"}
_PANEL = (3.4, 2.8)  # inches
_MAX_ROWS = 12


def save_report(report: Report, file: str | Path) -> None:
    """Draw the coordinates: a row per subject, a panel per step; measured (points), predicted (dashed lines).

    Where an exponent does not show yet, a dotted line has the slope expected at these widths.

    Args:
        report: With coordinates.
        file: Ends in .svg, .png or .pdf.

    Raises:
        ValueError: Nothing to draw, or another kind of file.
    """
    path = Path(file)
    if path.suffix not in {".svg", ".png", ".pdf"}:
        raise ValueError(f"{file} must end in .svg, .png or .pdf")
    coordinates = [check for check in report.checks if check.kind == "COORDINATE"]
    rows = [(subject, list(checks)) for subject, checks in groupby(coordinates, key=lambda c: c.subject)]
    if not rows:
        raise ValueError("the report has no coordinates to draw")
    rows = rows[:_MAX_ROWS]
    steps = sorted({check.step for _, checks in rows for check in checks})
    figure = Figure(figsize=(_PANEL[0] * len(steps), _PANEL[1] * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(steps), squeeze=False)
    for (subject, checks), row in zip(rows, axes, strict=True):
        for step, panel in zip(steps, row, strict=True):
            _draw(panel, subject, step, [check for check in checks if check.step == step])
    figure.savefig(path)


def _draw(axes: Axes, subject: Subject, step: int, checks: Sequence[Check]) -> None:
    for i, check in enumerate(checks):
        widths, values = np.array(check.widths, float), np.array(check.values)
        middle = np.exp(np.log(widths).mean()), np.exp(np.log(values).mean())
        axes.loglog(widths, values, _MARKERS[check.verdict], color=f"C{i}", label=check.name)
        if check.predicted:
            predicted = middle[1] * (widths / middle[0]) ** float(Fraction(check.predicted))
            axes.loglog(widths, predicted, "--", color=f"C{i}", linewidth=0.8)
        if check.verdict is Verdict.NOT_YET and check.expected is not None:
            expected = middle[1] * (widths / middle[0]) ** check.expected
            axes.loglog(widths, expected, ":", color=f"C{i}", linewidth=0.8)
    rate = (
        f", rate {number(subject.base_learning_rate, SETTING_DIGITS)}" if subject.base_learning_rate else ""
    )
    network = f"{subject.parameterization}, L={subject.hidden_layers}, {subject.activation}{rate}"
    axes.set_title(f"{network}, step {step}", fontsize=7)
    axes.set_xlabel("width", fontsize=8)
    # Powers of ten say little of widths, and their subdivisions overlap.
    axes.xaxis.set_major_locator(FixedLocator(sorted({width for check in checks for width in check.widths})))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(which="both", labelsize=7)
    axes.legend(fontsize=6)
