"""`iplab study` and `iplab studies`: ask a question, follow it to its answer, look at it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from iplab.cli.app import (
    DISAGREES,
    ENDED_BADLY,
    UNDECIDED,
    Service,
    json_option,
    note,
    print_json,
    warn,
)
from iplab.cli.edit import changes, deletion, description_options, say_description
from iplab.cli.submit import numbers_of
from iplab.display.commands import Choice, CommandGroup
from iplab.display.terminal import folded

if TYPE_CHECKING:
    from iplab.studies.study import Study

# Questions with one line for people, and their own options.
_ASKED: Final[Mapping[str, str]] = {
    "rate-transfer": "Does the best base learning rate move with the width?",
    "coordinate-check": "Do sizes in the network depend on the width as theory says?",
    "stationarity": "Does the change of the output fall with the width?",
    "equivalence": "Do two parameterizations become the same network?",
    "calibrated-rates": "By which power of the width do calibrated first rates grow?",
    "activation-gap": "How far apart are activations in accuracy and alignment?",
    "phase-boundary": "Where, along one exponent, does a layer's own update stop to count?",
    "limit": "Do outputs converge to those of an infinitely wide network?",
    "infinite-width": "How far are networks from infinite width, and which width is near enough?",
}
_STEP: Final = click.option("--step", type=click.IntRange(0), help="Updates done.  [default: 1]")
_WITHIN: Final = click.option("--within", type=float, help="Also ask whether the distance is below this.")
_OWN: Final[Mapping[str, Sequence[Callable[[Any], Any]]]] = {
    "coordinate-check": (
        click.option("--isolated/--no-isolated", default=None, help="Measure updates of one layer alone."),
        click.option("--change-steps", metavar="LIST", help="Also check changes after these updates."),
        click.option(
            "--reference",
            "references",
            multiple=True,
            metavar="LABEL=NAME",
            help="Hold LABEL against NAME, another label or a preset: what was meant. May be repeated.",
        ),
    ),
    "stationarity": (_STEP,),
    "equivalence": (_STEP, _WITHIN),
    "activation-gap": (
        click.option(
            "--alignment-step", type=click.IntRange(0), help="Updates; 0: no alignment.  [default: 1]"
        ),
    ),
    "phase-boundary": (
        click.option("--exponent", type=Choice(["a", "b", "c"]), help="Which is moved.  [default: c]"),
        click.option("--layer", type=click.IntRange(0), help="Of which layer.  [default: all together]"),
        click.option("--observed", type=click.IntRange(1), help="Layer that is measured.  [default: 1]"),
        _STEP,
        click.option("--boundary", help="Where it should be, as 1/2.  [default: where theory has it]"),
    ),
    "limit": (_STEP, _WITHIN),
}


@click.group(cls=CommandGroup)
@json_option
def study(*, as_json: bool) -> None:
    """Ask a question; the service answers it by experiments of its own.

    Rounds with what was learned go to standard error, the answer to standard output. docs/studies.md says
    how a study decides.
    """


def _ask(question: str) -> click.Command:
    """The command that asks one question."""

    @click.pass_context
    def ask(context: click.Context, /, **options: Any) -> None:
        service: Service = context.obj
        own = {name: value for name in _own_names(question) if (value := options.pop(name)) not in (None, ())}
        if "references" in own:
            own["references"] = _pairs(own["references"])
        if "change_steps" in own:
            own["change_steps"] = numbers_of("--change-steps", own["change_steps"], int)
        with service.connect() as client:
            asked = client.study(
                question,
                _spec(options),
                budget=options["budget"],
                tolerance=options["tolerance"],
                error_rate=options["error_rate"],
                study_id=options["study_id"] or "",
                request_id=options["request_id"],
                validate_only=options["dry_run"],
                **own,
            )
            for text in asked.warnings:
                warn(text)
            if options["dry_run"]:
                print_json(asked.to_dict()) if options["as_json"] else click.echo("the study is good")
            elif options["detach"]:
                print_json(asked.to_dict()) if options["as_json"] else click.echo(asked.id)
            else:
                note(f"study {asked.id}; it goes on without you: iplab study watch {asked.id}")
                _finish(context, asked, options["picture"], as_json=options["as_json"])

    command: Any = ask
    for option in reversed((*_COMMON, *_OWN.get(question, ()))):
        command = option(command)
    command = json_option(command)
    return click.command(question, help=f"{_ASKED[question]}\n\nExit code by the verdict: see iplab --help.")(
        command
    )


def _own_names(question: str) -> list[str]:
    names = []
    for option in _OWN.get(question, ()):
        parameters: list[click.Parameter] = []

        def holder() -> None: ...

        option(holder)
        parameters = holder.__click_params__  # type: ignore[attr-defined] # where click keeps them
        names += [str(parameter.name) for parameter in parameters]
    return names


_COMMON: Final = (
    click.option(
        "--spec", "file", type=click.Path(), help="File with the spec; options below replace its parts."
    ),
    click.option("--parameterization", "parameterizations", metavar="LIST", help="Presets, as ip-llr,mup."),
    click.option("--activation", "activations", metavar="LIST", help="As relu,tanh.  [default: relu]"),
    click.option("--hidden-layers", metavar="LIST", help="Depths, as 2,3.  [default: 3]"),
    click.option("--dataset", help="Name of a dataset.  [default: digits]"),
    click.option("--steps", type=click.IntRange(1), help="Updates of a whole run.  [default: 100]"),
    click.option("--batch-size", type=click.IntRange(1), help="Examples per update.  [default: 64]"),
    click.option("--optimizer", help="Name of an optimizer.  [default: sgd]"),
    click.option("--loss", help="Name of a loss.  [default: cross_entropy]"),
    click.option("--rate", type=float, help="Base learning rate, or the first guess.  [default: 0.125]"),
    click.option("--widths", metavar="LIST", help="First widths, each twice the last."),
    click.option(
        "--budget",
        required=True,
        help="What it may spend: 10m, 400 runs, 2 core-hours; or several, by commas.",
    ),
    click.option("--tolerance", type=float, help="Distance from a prediction that still agrees."),
    click.option("--error-rate", type=float, help="Probability of any wrong answer.  [default: 0.05]"),
    click.option("--id", "study_id", help="Id of the study. Default: the service chooses."),
    click.option("--request-id", help="UUID; asking again under it asks nothing twice."),
    click.option(
        "--picture", type=click.Path(dir_okay=False), help="Where to save the picture.  [default: ID.svg]"
    ),
    click.option("--detach", is_flag=True, help="Print its id and do not wait for the answer."),
    click.option("--dry-run", is_flag=True, help="Check only; nothing is asked."),
)


def _spec(options: Mapping[str, Any]) -> dict[str, object]:
    """The spec that the options describe, on top of the file's if there is one."""
    found: dict[str, Any] = {}
    if options["file"]:
        from google.protobuf import json_format  # noqa: PLC0415 - messages only where there is a file

        from iplab.specs.specfile import load_spec  # noqa: PLC0415

        found = json_format.MessageToDict(load_spec(options["file"]), preserving_proto_field_name=True)
    spec = found.setdefault("spec", {})
    grid = spec.setdefault("grid", {})
    defaults = {"dataset": "digits", "steps": 100, "batch_size": 64}
    for name in ("dataset", "steps", "batch_size", "loss"):
        if options[name] is not None:
            spec[name] = options[name]
        elif name in defaults:
            spec.setdefault(name, defaults[name])
    if options["optimizer"] is not None:
        spec["optimizer"] = {"name": options["optimizer"]}
    if options["parameterizations"]:
        grid["parameterizations"] = [{"preset": name} for name in options["parameterizations"].split(",")]
    if options["activations"]:
        grid["activations"] = options["activations"].split(",")
    grid.setdefault("activations", ["relu"])
    if options["hidden_layers"]:
        grid["hidden_layers"] = numbers_of("--hidden-layers", options["hidden_layers"], int)
    grid.setdefault("hidden_layers", [3])
    if options["widths"]:
        grid["widths"] = numbers_of("--widths", options["widths"], int)
    if options["rate"] is not None:
        grid["base_learning_rates"] = [options["rate"]]
    return found


for _question in _ASKED:
    study.add_command(_ask(_question))


@study.command("watch")
@click.argument("name")
@click.option(
    "--picture", type=click.Path(dir_okay=False), help="Where to save the picture.  [default: ID.svg]"
)
@json_option
@click.pass_context
def watch_study(context: click.Context, name: str, *, picture: str | None, as_json: bool) -> None:
    """Follow the study NAME to its answer."""
    service: Service = context.obj
    with service.connect() as client:
        _finish(context, client.get_study(name), picture, as_json=as_json)


@study.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show_study(service: Service, name: str, *, as_json: bool) -> None:
    """Show the study NAME: the answer first, then its numbers and rounds."""
    with service.connect() as client:
        found = client.get_study(name)
    if as_json:
        print_json(found.to_dict())
    else:
        print_study(found)


@study.command("cancel")
@click.argument("name")
@json_option
@click.pass_obj
def cancel_study(service: Service, name: str, *, as_json: bool) -> None:
    """End the study NAME and cancel its experiments."""
    with service.connect() as client:
        found = client.get_study(name).cancel()
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(f"{found.id} is {found.state}")


@study.command("update")
@click.argument("name")
@description_options
@json_option
@click.pass_obj
def update_study(service: Service, /, name: str, *, as_json: bool, **options: Any) -> None:
    """Change name, labels, notes or priority of the study NAME.

    What is not given stays as it is. An empty text removes what was there. Labels and priority count for the
    experiments that it asks for from now on.
    """
    given = changes(**options)
    with service.connect() as client:
        say_description(client.get_study(name).update(**given), as_json=as_json)


@study.command("delete")
@click.argument("name")
@json_option
@click.pass_obj
def delete_study(service: Service, name: str, *, as_json: bool) -> None:
    """Delete the study NAME, which must have ended; its experiments stay.

    It can be brought back for a while, until the time that is printed (UTC); then it is purged.
    """
    with service.connect() as client:
        _say_deletion(client.get_study(name).delete(), as_json=as_json)


@study.command("undelete")
@click.argument("name")
@json_option
@click.pass_obj
def undelete_study(service: Service, name: str, *, as_json: bool) -> None:
    """Bring the deleted study NAME back."""
    with service.connect() as client:
        _say_deletion(client.get_study(name).undelete(), as_json=as_json)


@study.command("purge")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@json_option
@click.pass_obj
def purge_study(service: Service, name: str, *, yes: bool, as_json: bool) -> None:
    """Remove the deleted study NAME for good, now; its experiments stay. Needs the role admin."""
    if not yes:
        click.confirm(f"Remove {name} for good?", abort=True, err=True)
    with service.connect() as client:
        _say_deletion(client.get_study(name).purge(), as_json=as_json)


def _say_deletion(found: Study, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(f"{found.id} {deletion(found)}; its {len(found.experiments)} experiments stay")


@click.command("studies")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--deleted", is_flag=True, help="Also deleted ones that are not purged yet.")
@json_option
@click.pass_obj
def list_studies(service: Service, *, limit: int, deleted: bool, as_json: bool) -> None:
    """List studies, newest first."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    with service.connect() as client:
        found = list(client.studies(limit, show_deleted=deleted))
    if as_json:
        print_json([one.to_dict() for one in found])
        return
    if not found:
        note("there are no studies yet")
        return
    rows = [
        (
            one.id,
            one.question,
            str(one.state) + (" (deleted)" if one.delete_time else ""),
            one.verdict.words,
            one.spent.runs,
            one.sentence,
        )
        for one in found
    ]
    headings = ["study", "question", "state", "verdict", "runs", "answer"]
    print_table(table_of(headings, rows, folding=(), cutting={"answer"}))
    note("all of an answer: iplab study show STUDY")


def print_study(found: Study) -> None:
    """The answer, a row per number, the rounds, and what was spent."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - as above
    from iplab.studies.answers import interval_text, prediction_text, spent_text  # noqa: PLC0415 - as above

    if found.delete_time is not None:
        click.echo(f"it {deletion(found)}")
    click.echo(folded(found.sentence or f"{found.id} is {found.state}; nothing is known yet"))
    for line in found.notes.splitlines():
        click.echo(folded(line))
    for warning in found.warnings:
        click.echo(folded(f"warning: {warning}"))
    rows = [
        (answer.subject, cell.name, interval_text(cell), prediction_text(cell), cell.verdict.words)
        for answer in found.answers
        for cell in answer.cells
    ]
    if rows:
        headings = ["subject", "number", "95 % interval", "theory", "verdict"]
        print_table(table_of(headings, rows, folding={"subject", "number"}))
    for one in found.rounds:
        click.echo(folded(f"round {one.number}: {one.runs} runs: {one.why}"))
    click.echo(f"{found.id} is {found.state}; spent: {spent_text(found.spent)}")


def _finish(context: click.Context, asked: Study, picture: str | None, *, as_json: bool) -> None:
    """Wait, print the answer and the picture's path, and exit by the verdict."""
    from iplab.results.states import StudyState, StudyVerdict  # noqa: PLC0415 - messages only after connecting
    from iplab.studies.answers import spent_text  # noqa: PLC0415

    try:
        asked.wait()
    except KeyboardInterrupt:
        note(f"{asked.id} goes on; follow it again with: iplab study watch {asked.id}")
        raise
    path = _save_picture(asked, picture)
    if as_json:
        print_json(asked.to_dict())
    else:
        click.echo(folded(asked.sentence))
        click.echo(f"spent: {spent_text(asked.spent)}")
        if path is not None:
            click.echo(f"picture: {path}")
    if asked.state is not StudyState.SUCCEEDED:
        context.exit(ENDED_BADLY)
    if asked.verdict is StudyVerdict.DISAGREES:
        context.exit(DISAGREES)
    if asked.verdict is StudyVerdict.UNDECIDED:
        context.exit(UNDECIDED)


def _save_picture(asked: Study, file: str | None) -> Path | None:
    """Save the study's picture; None if there is nothing to draw, or nothing to draw it with."""
    from iplab.studies.pictures import NothingToDraw, picture_of  # noqa: PLC0415 - numpy only for pictures

    try:
        saved: Path = picture_of(asked).save(file or f"{asked.id}.svg")
        return saved.absolute()
    except NothingToDraw as error:
        note(f"no picture: {error}")
    except ImportError:
        text = "a picture needs matplotlib: pip install 'iplab[plot]'"
        if file:
            raise click.UsageError(f"--picture: {text}") from None
        note(f"no picture: {text}")
    except ValueError as error:
        raise click.UsageError(f"--picture: {error}") from None
    return None


def _pairs(references: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in references:
        label, equals, name = text.partition("=")
        if not (label and equals and name):
            raise click.UsageError(f"--reference {text!r}: write LABEL=NAME, as mine=mup")
        pairs[label] = name
    return pairs
