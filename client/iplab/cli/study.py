"""`iplab study` and `iplab studies`: ask a question, follow it to its answer, show it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from iplab.cli.app import (
    Service,
    json_option,
    note,
    print_json,
)
from iplab.cli.ask import ASKED, ask_command
from iplab.cli.edit import changes, deletion, description_options, say_description
from iplab.cli.study_answer import finish, print_study
from iplab.cli.submit import say_state
from iplab.display.commands import CommandGroup
from iplab.display.terminal import echo

if TYPE_CHECKING:
    from iplab.studies.study import Study


@click.group(cls=CommandGroup)
@json_option
def study(*, as_json: bool) -> None:
    """Ask a question; the service answers it by experiments of its own.

    Rounds with what was learned go to standard error, the answer to standard output. docs/studies.md says
    how a study decides.
    """


for _question in ASKED:
    study.add_command(ask_command(_question))


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
        finish(context, client.get_study(name), picture, as_json=as_json)


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
    say_state(found, "cancel", {"CANCELLING", "CANCELLED"}, as_json=as_json)


@study.command("update")
@click.argument("name")
@description_options
@json_option
@click.pass_obj
def update_study(service: Service, /, name: str, *, as_json: bool, **options: Any) -> None:
    """Change name, labels, notes or priority of the study NAME.

    Fields without an option keep their values. An empty text removes the value. Labels and priority apply to
    experiments that it creates from now on.
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

    It can be undeleted until the printed time (UTC); then it is purged.
    """
    with service.connect() as client:
        _say_deletion(client.get_study(name).delete(), as_json=as_json)


@study.command("undelete")
@click.argument("name")
@json_option
@click.pass_obj
def undelete_study(service: Service, name: str, *, as_json: bool) -> None:
    """Restore the deleted study NAME."""
    with service.connect() as client:
        _say_deletion(client.get_study(name).undelete(), as_json=as_json)


@study.command("purge")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@json_option
@click.pass_obj
def purge_study(service: Service, name: str, *, yes: bool, as_json: bool) -> None:
    """Remove the deleted study NAME permanently, now; its experiments stay. Needs the role admin."""
    if not yes:
        click.confirm(f"Permanently remove {name}?", abort=True, err=True)
    with service.connect() as client:
        _say_deletion(client.get_study(name).purge(), as_json=as_json)


def _say_deletion(found: Study, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        echo(f"{found.id} {deletion(found)}; its {len(found.experiments)} experiments stay")


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
