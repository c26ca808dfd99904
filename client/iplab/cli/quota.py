"""`iplab quota`: your projects, roles and limits on a service."""

from __future__ import annotations

import click

from iplab.cli.app import Service, json_option, print_json
from iplab.display.terminal import echo


@click.command()
@json_option
@click.pass_obj
def quota(service: Service, *, as_json: bool) -> None:
    """Show your projects, your role in each, and the use of their limits."""
    from iplab.display.catalog import projects  # noqa: PLC0415 - rich is slow to load
    from iplab.display.tables import print_table  # noqa: PLC0415 - as above
    from iplab.specs.plain import to_plain  # noqa: PLC0415 - messages only after connecting

    with service.connect() as client:
        found = client.quotas()
    if as_json:
        print_json(to_plain(found))
        return
    for sentence, limits in projects(found):
        echo(sentence)
        if limits is None:
            echo("  no limits")
        else:
            print_table(limits)
    if not found.projects:
        echo("no projects: ask the operator for a role (`ipserver project grant`)")
