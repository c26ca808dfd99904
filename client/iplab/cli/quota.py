"""`iplab quota`: your projects, roles and limits on a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iplab.cli.app import Service, json_option, print_json
from iplab.display.terminal import echo

if TYPE_CHECKING:
    from iplab.v1.quota_service_pb2 import Quota


@click.command()
@json_option
@click.pass_obj
def quota(service: Service, *, as_json: bool) -> None:
    """Show your projects, your role in each, and what of their limits is used."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich is slow to load
    from iplab.specs.plain import to_plain  # noqa: PLC0415 - messages only after connecting
    from iplab.v1.options_pb2 import Role  # noqa: PLC0415 - as above

    with service.connect() as client:
        found = client.quotas()
    if as_json:
        print_json(to_plain(found))
        return
    for project in found.projects:
        role = Role.Name(project.role).removeprefix("ROLE_").lower()
        echo(f"project {project.project}: {found.user or 'everyone'} is {role}")
        if not project.quotas:
            echo("  no limits")
            continue
        rows = [_row(one) for one in project.quotas]
        print_table(
            table_of(["limit", "of", "used", "at most", "until", "meaning"], rows, folding={"meaning"})
        )
    if not found.projects:
        echo("no projects: ask the operator for a role (`ipserver project grant`)")


def _row(one: Quota) -> tuple[str, ...]:
    used = f"{one.used:,.6g}" if one.HasField("used") else ""
    until = one.reset_time.ToDatetime().strftime("%Y-%m-%d") if one.HasField("reset_time") else ""
    return one.limit, one.user or "the project", used, f"{one.most:,.6g}", until, one.meaning
