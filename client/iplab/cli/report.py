"""`iplab report`: one self-contained page about an experiment or a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import iplab
from iplab.cli.app import Service, json_option, print_json
from iplab.display.terminal import echo

if TYPE_CHECKING:
    from iplab.client import Client


@click.command()
@click.argument("name")
@click.option("--html", "file", type=click.Path(dir_okay=False), help="File to write.  [default: NAME.html]")
@json_option
@click.pass_obj
def report(service: Service, name: str, *, file: str | None, as_json: bool) -> None:
    """Write a page about NAME, an experiment or a study, with its figures inside.

    If an experiment and a study have the same id, NAME means the experiment; write studies/ID for the study.
    """
    with service.connect() as client:
        try:
            text = _page(client, name)
        except ImportError as error:
            raise click.UsageError("figures need matplotlib: pip install 'iplab[plot]'") from error
    path = Path(file or f"{name.rpartition('/')[2]}.html").absolute()
    path.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"file": str(path), "bytes": path.stat().st_size})
    else:
        echo(str(path))


def _page(client: Client, name: str) -> str:
    from iplab.display.page import experiment_page, study_page  # noqa: PLC0415 - numpy only where figures are drawn

    if name.startswith("studies/"):
        return study_page(client.get_study(name))
    try:
        found = client.experiment(name)
    except iplab.NotFoundError:
        try:
            return study_page(client.get_study(name))
        except iplab.NotFoundError:
            raise iplab.NotFoundError(f"there is no experiment and no study {name!r}") from None
    return experiment_page(found)
