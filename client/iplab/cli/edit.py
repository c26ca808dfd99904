"""`iplab update`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import click

from iplab.cli.app import Service, json_option, print_json


@click.command()
@click.argument("experiment")
@click.option("--display-name", default=None, help="Its name for people, on one line.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; may be repeated.")
@click.option("--remove-label", "removed", multiple=True, metavar="KEY", help="Remove a label.")
@click.option("--notes", default=None, help="Free text.")
@click.option(
    "--notes-file",
    default=None,
    type=click.File(encoding="utf-8"),
    help="The same from a file; -: standard input.",
)
@click.option("--priority", default=None, type=int, help="Counts from the next scheduling decision on.")
@click.option("--etag", default="", help="Change nothing unless this is its etag (show --json) now.")
@json_option
@click.pass_obj
def update(
    service: Service,
    experiment: str,
    *,
    display_name: str | None,
    labels: Sequence[str],
    removed: Sequence[str],
    notes: str | None,
    notes_file: IO[str] | None,
    priority: int | None,
    etag: str,
    as_json: bool,
) -> None:
    """Change name, labels, notes or priority of EXPERIMENT.

    What is not given stays as it is. An empty text removes what was there.
    """
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
    with service.connect() as client:
        found = client.experiment(experiment)
        found.update(display_name=display_name, labels=changed, notes=text, priority=priority, etag=etag)
        if as_json:
            print_json(found.to_dict())
            return
        words = [f"priority {found.priority}"]
        words += [found.display_name] if found.display_name else []
        words += [f"{key}={value}" for key, value in sorted(found.labels.items())]
        click.echo(f"{found.id}: {', '.join(words)}")
