"""`iplab check`: measurement held against theory."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from iplab.cli.app import DISAGREES, Service, folded, json_option, note, print_json
from iplab.numbers import SETTING_DIGITS, decimals, number

if TYPE_CHECKING:
    from iplab.report import Check, Report, Subject

# Kinds of check of which a conclusion says what disagrees.
_CONCLUDED = frozenset({"COORDINATE", "ISOLATED_UPDATE"})
_HEADINGS = ("step", "size", "theory", "slope", "95 % interval", "verdict")


@click.command()
@click.argument("experiment")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="LABEL=NAME",
    help="Hold LABEL against NAME, another label or a preset: what was intended. May be repeated.",
)
@click.option(
    "--step", "steps", multiple=True, type=click.IntRange(0), help="Only at this step; may be repeated."
)
@click.option(
    "--tolerance", type=float, help="Distance from a predicted exponent that still agrees.  [default: 0.1]"
)
@click.option(
    "--plot", type=click.Path(dir_okay=False), help="Save a picture (.svg, .png, .pdf) of the sizes."
)
@click.option(
    "--alignment",
    is_flag=True,
    help="Say where the network leaves the calculus, by the alignment that was recorded, and what theory "
    "says with it.",
)
@click.option("--why", is_flag=True, help="Say of each size that does not agree why, and of how many seeds.")
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
    """Hold the measurements of EXPERIMENT against theory.

    Slopes of log size against log width, layer by layer, with 95 % intervals over seeds, each with a verdict:
    agrees, disagrees, undecided, or not yet to be seen at these widths (docs/analysis.md). Exit code 6 if
    something disagrees.
    """
    service: Service = context.obj
    with service.connect() as client:
        report = client.experiment(experiment).check(
            _pairs(references), steps, tolerance, alignment=alignment
        )
    if plot:
        _plot(report, plot)
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report, why=why)
    if report.disagrees:
        context.exit(DISAGREES)


def print_report(report: Report, *, why: bool = False) -> None:
    """A table per subject, below it its conclusions and what disagrees beside coordinates, then notes.

    Args:
        report: What to print.
        why: Explain everything that does not agree; a conclusion names its first coordinate alone.
    """
    from iplab.report import Verdict  # noqa: PLC0415 - messages only after connecting
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    alignments = {c.subject: c for c in report.alignments}
    for subject, group in groupby(report.checks, key=lambda check: check.subject):
        checks = list(group)
        print_table(table_of(_HEADINGS, [_row(check) for check in checks], _title(subject), folding=()))
        for conclusion in report.conclusions:
            if conclusion.subject == subject:
                click.echo(folded(f"{subject.parameterization}: {conclusion.sentence}"))
        if subject in alignments:
            click.echo(folded(f"{subject.parameterization}: {alignments[subject].sentence}"))
        for check in checks:
            unexpected = check.verdict is Verdict.DISAGREES and check.kind not in _CONCLUDED
            if unexpected or (why and check.verdict is not Verdict.AGREES):
                click.echo(folded(check.sentence, indent=4))
        click.echo()
    for text in report.notes:
        note(folded(f"note: {text}", err=True))
    if not report.checks:
        note("nothing could be checked")
    elif not why and any(check.verdict in {Verdict.UNDECIDED, Verdict.NOT_YET} for check in report.checks):
        note("why something is undecided, or not yet seen: --why")


def _row(check: Check) -> tuple[object, ...]:
    bound = "<= " if check.upper_bound else ""
    interval = None
    if check.low is not None and check.high is not None:
        interval = f"{decimals(check.low, 2)} .. {decimals(check.high, 2)}"
    step = check.step if check.quantity else None
    interval_of_theory = check.predicted_high not in ("", check.predicted)
    upper = f" .. {check.predicted_high}" if interval_of_theory else ""
    theory = f"{bound}{check.predicted}{upper}" or None
    return step, check.name, theory, decimals(check.slope, 2), interval, check.verdict.value


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


def _plot(report: Report, file: str) -> None:
    try:
        from iplab.plots import save_report  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise click.UsageError("--plot needs matplotlib: pip install 'iplab[plot]'") from error
    try:
        save_report(report, file)
    except ValueError as error:
        raise click.UsageError(f"--plot: {error}") from error
    note(f"saved {file}")
