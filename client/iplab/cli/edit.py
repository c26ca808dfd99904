"""`iplab update`, `delete`, `undelete` and `purge`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click

from iplab.cli.app import Service, json_option, print_json, print_json_list
from iplab.display.terminal import echo

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.studies.study import Study

Decorated = TypeVar("Decorated", bound=Callable[..., object])


def description_options(command: Decorated) -> Decorated:
    """Add the options of `update`, for `changes`."""
    for option in reversed(
        (
            click.option("--display-name", default=None, help="Display name, on one line."),
            click.option(
                "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; may be repeated."
            ),
            click.option("--remove-label", "removed", multiple=True, metavar="KEY", help="Remove a label."),
            click.option("--notes", default=None, help="Free text."),
            click.option(
                "--notes-file",
                default=None,
                type=click.File(encoding="utf-8"),
                help="The same from a file; -: standard input.",
            ),
            click.option(
                "--priority", default=None, type=int, help="Applies from the next scheduling decision on."
            ),
            click.option(
                "--etag", default="", help="Change nothing unless this is its current etag (show --json)."
            ),
        )
    ):
        command = option(command)
    return command


def changes(
    *,
    display_name: str | None,
    labels: Sequence[str],
    removed: Sequence[str],
    notes: str | None,
    notes_file: IO[str] | None,
    priority: int | None,
    etag: str,
) -> dict[str, Any]:
    """Convert these options to arguments of `Experiment.update` and `Study.update`."""
    if notes is not None and notes_file is not None:
        raise click.UsageError("--notes and --notes-file are the same; give one of them")
    changed: dict[str, str | None] = dict.fromkeys(removed)
    for label in labels:
        key, sign, value = label.partition("=")
        if not sign:
            raise click.UsageError(f"--label {label!r} has no value; write KEY=VALUE, as team=theory")
        if key in changed:
            raise click.UsageError(f"the label {key!r} is given twice; keep one")
        changed[key] = value
    text = notes if notes_file is None else notes_file.read()
    given = (display_name, text, priority)
    if not changed and all(value is None for value in given):
        raise click.UsageError(
            "nothing to change; give --display-name, --label, --remove-label, --notes, --notes-file or "
            "--priority"
        )
    return {
        "display_name": display_name,
        "labels": changed,
        "notes": text,
        "priority": priority,
        "etag": etag,
    }


def say_description(found: Experiment | Study, *, as_json: bool) -> None:
    """Print its present labels, notes, display name and priority."""
    if as_json:
        print_json(found.to_dict())
        return
    words = [f"priority {found.priority}"]
    words += [found.display_name] if found.display_name else []
    words += [f"{key}={value}" for key, value in sorted(found.labels.items())]
    echo(f"{found.id}: {', '.join(words)}")


@click.command()
@click.argument("experiment")
@description_options
@json_option
@click.pass_obj
def update(service: Service, /, experiment: str, *, as_json: bool, **options: Any) -> None:
    """Change name, labels, notes or priority of EXPERIMENT.

    Fields without an option keep their values. An empty text removes the value.
    """
    given = changes(**options)
    with service.connect() as client:
        say_description(client.experiment(experiment).update(**given), as_json=as_json)


@click.command()
@click.argument("experiments", nargs=-1, required=True)
@json_option
@click.pass_obj
def delete(service: Service, experiments: Sequence[str], *, as_json: bool) -> None:
    """Delete EXPERIMENTS that have ended; they can be undeleted for a while.

    Lists omit them (list --deleted shows them). They are purged, with their weights, at the printed time
    (UTC). A running experiment is refused: cancel it first. Data in MLflow stay there.
    """
    _each(service, experiments, "delete", as_json=as_json)


@click.command()
@click.argument("experiments", nargs=-1, required=True)
@json_option
@click.pass_obj
def undelete(service: Service, experiments: Sequence[str], *, as_json: bool) -> None:
    """Restore deleted EXPERIMENTS."""
    _each(service, experiments, "undelete", as_json=as_json)


@click.command()
@click.argument("experiments", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@json_option
@click.pass_obj
def purge(service: Service, experiments: Sequence[str], *, yes: bool, as_json: bool) -> None:
    """Remove deleted EXPERIMENTS permanently, now.

    This removes their runs, metrics and weights. Their ids are never reused. Data in MLflow stay there. Needs
    the role admin.
    """
    if not yes:
        click.confirm(f"Permanently remove {', '.join(experiments)}?", abort=True, err=True)
    _each(service, experiments, "purge", as_json=as_json)


def _each(
    service: Service, names: Sequence[str], work: Literal["delete", "undelete", "purge"], *, as_json: bool
) -> None:
    """Apply an action to each experiment and print its result."""
    with service.connect() as client:
        done: Iterator[Experiment] = (getattr(client.experiment(name), work)() for name in names)
        if as_json:
            print_json_list(one.to_dict() for one in done)
            return
        for one in done:
            echo(f"{one.id} {deletion(one)}")


def deletion(found: Experiment | Study) -> str:
    """Text about the deletion of a resource, and until when it can be undeleted."""
    if found.delete_time is None or found.purge_time is None:
        return "exists; it is not deleted"
    if found.purge_time <= datetime.now(UTC):
        return "is being purged"
    return f"is deleted; it can be undeleted until {found.purge_time:%Y-%m-%d %H:%M} UTC"
