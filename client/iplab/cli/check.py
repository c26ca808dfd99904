"""`iplab check`: comparison of measurements with theory."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iplab.cli.app import DISAGREES, Service, json_option, note, print_json
from iplab.display.terminal import echo, folded
from iplab.results.numbers import SETTING_DIGITS, decimals, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iplab.results.report import Check, Report, Subject

_PICTURES = (".svg", ".png", ".pdf", ".csv")
# Maximum number of notes without --why, because a grid of many rates has one note per rate.
_NOTES = 3
# Verdicts that more runs may change.
_OPEN = ("undecided", "not bracketed")
# Up to this number of answers there is no overview.
_FEW = 3
_HEADINGS = ("step", "size", "theory", "slope", "95 % interval", "verdict")
_PARTS = ("width", "distance", "95 % interval", "variance", "bias of its square")


@click.command()
@click.argument("experiment")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="LABEL=NAME",
    help="Compare LABEL with NAME, the intended label or preset. May be repeated.",
)
@click.option(
    "--step", "steps", multiple=True, type=click.IntRange(0), help="Only at this step; may be repeated."
)
@click.option(
    "--tolerance", type=float, help="Distance from a predicted exponent that still agrees.  [default: 0.1]"
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Save a picture (.svg, .png, .pdf) too.")
@click.option(
    "--alignment",
    is_flag=True,
    help="Say where the network departs from the calculus, by its recorded alignment, and what theory "
    "predicts with it.",
)
@click.option("--why", is_flag=True, help="Show every comparison, and why it does not agree.")
@json_option
@click.pass_context
def check(
    context: click.Context,
    experiment: str,
    *,
    references: tuple[str, ...],
    steps: tuple[int, ...],
    tolerance: float | None,
    plot: str | None,
    alignment: bool,
    why: bool,
    as_json: bool,
) -> None:
    """Compare the measurements of EXPERIMENT with theory.

    Shows the answers first: for each parameterization the measurement with its 95 % interval over seeds, the
    prediction, and whether they agree. With --why also all comparisons: slopes of log size against log width,
    layer by layer, and why they agree, disagree, are undecided, or cannot show yet at these widths
    (docs/analysis.md). Exit code 6 if something disagrees.
    """
    if plot and Path(plot).suffix.lower() not in _PICTURES:  # checked before any call
        raise click.UsageError(f"--plot {plot}: the name must end in {', '.join(_PICTURES)}")
    service: Service = context.obj
    with service.connect() as client:
        report = client.experiment(experiment).check(
            _pairs(references), steps, tolerance, alignment=alignment
        )
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report, why=why)
    if plot:
        # Draw after printing, so that an error of drawing does not suppress the report.
        try:
            report.plot().save(plot)
        except (ValueError, OSError, ImportError) as error:
            raise click.UsageError(f"--plot: there is no picture: {error}") from error
        echo(f"saved {plot}", err=True)
    if report.disagrees:
        context.exit(DISAGREES)


def print_report(report: Report, *, why: bool = False) -> None:
    """Print the answers as sentences, every comparison if `why`, and notes."""
    from iplab.display.answers import answers, overview  # noqa: PLC0415 - messages only after connecting

    found = answers(report)
    many = len(found) > _FEW
    if many:
        echo(folded(overview(found)))
    for answer in found:
        echo(folded(answer.sentence, indent=2 if many else 0))
    if why and report.checks:
        echo()
        _print_tables(report)
    for text in report.measurements:
        echo(folded(text))
    if not report.checks:
        note("nothing could be compared with theory")
    notes = report.notes if why else _alike(report.notes)
    shown = notes if why else notes[:_NOTES]
    for text in shown:
        note(f"note: {text}")
    if more := len(notes) - len(shown):
        note(f"{more} more note{'' if more == 1 else 's'}: --why")
    if report.checks and not why:
        note("every comparison, and why: --why")
    if any(check.kind == "RATE_TRANSFER" and check.verdict.value in _OPEN for check in report.checks):
        name = report.name.rpartition("/")[2]
        note(f"to add what is missing: iplab extend {name} --base-learning-rates LIST (or --seeds, --widths)")


def _alike(notes: Sequence[str]) -> list[str]:
    """One note of each kind: notes with the same ending differ only in the runs or layers that they name."""
    kinds: dict[str, list[str]] = {}
    for text in notes:
        kinds.setdefault(text.rpartition(": ")[2], []).append(text)
    return [
        texts[0] if len(texts) == 1 else f"{texts[0]} ({len(texts) - 1} more of this kind)"
        for texts in kinds.values()
    ]


def _print_tables(report: Report) -> None:
    """Print a table per subject, followed by its conclusions and sentences about disagreements."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn
    from iplab.results.report import Verdict  # noqa: PLC0415 - messages only after connecting

    for subject, group in groupby(report.checks, key=lambda check: check.subject):
        checks = list(group)
        print_table(table_of(_HEADINGS, [_row(check) for check in checks], _title(subject), folding=()))
        for conclusion in report.conclusions:
            if conclusion.subject == subject:
                echo(folded(f"{subject.parameterization}: {conclusion.sentence}"))
        for check in checks:
            if check.verdict is not Verdict.AGREES:
                echo(folded(check.sentence, indent=4))
        for check in checks:
            if check.kind == "LIMIT":
                print_table(table_of(_PARTS, _parts(check), f"{check.name}, {_after(check)}", folding=()))
        echo()


def _after(check: Check) -> str:
    return f"after update {check.step}" if check.step else "at the end"


def _parts(check: Check) -> list[tuple[object, ...]]:
    """Rows of a distance to the limit: per width, the distance and the parts of its square."""
    rows: list[tuple[object, ...]] = []
    columns = zip(check.sizes, check.variances, check.biases, strict=True)
    for (width, value, low, high), variance, bias in columns:
        interval = None if low is None or high is None else f"{decimals(low, 3)} .. {decimals(high, 3)}"
        share = None if bias is None or not value else f"{100 * min(1.0, max(0.0, bias) / value**2):.0f} %"
        spread = None if variance is None else number(variance, 2)
        rows.append((width, decimals(value, 3), interval, spread, share))
    return rows


def _row(check: Check) -> tuple[object, ...]:
    from iplab.display.answers import theory_text  # noqa: PLC0415 - as above

    interval = None
    if check.low is not None and check.high is not None:
        interval = f"{decimals(check.low, 2)} .. {decimals(check.high, 2)}"
    step = check.step if check.quantity else None
    slope = None if check.slope is None else decimals(check.slope, 2)
    return step, check.name, theory_text(check) or None, slope, interval, check.verdict.value


def _title(subject: Subject) -> str:
    intended = f" as {subject.reference}" if subject.reference != subject.parameterization else ""
    rate = (
        ""
        if subject.base_learning_rate is None
        else f", base rate {number(subject.base_learning_rate, SETTING_DIGITS)}"
    )
    return f"{subject.parameterization}{intended}, L={subject.hidden_layers}, {subject.activation}{rate}"


def _pairs(references: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in references:
        label, equals, name = text.partition("=")
        if not (label and equals and name):
            raise click.UsageError(f"--reference {text!r}: write LABEL=NAME, as mine=mup")
        if label in pairs:
            raise click.UsageError(f"--reference {label}=...: given twice")
        pairs[label] = name
    return pairs
