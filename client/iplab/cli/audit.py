"""`iplab audit`: the audit log of changes and refused calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iplab.cli.app import Service, json_option, note, print_json

if TYPE_CHECKING:
    from iplab.v1.audit_service_pb2 import AuditEntry


@click.command()
@click.option("--filter", "filter_", default="", help="As 'user = alice AND code = PERMISSION_DENIED'.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@json_option
@click.pass_obj
def audit(service: Service, *, filter_: str, limit: int, as_json: bool) -> None:
    """Show who changed what, when and from where, newest first, and what was refused.

    Shows projects in which you are admin. Filters compare user, method, resource, project, peer, code (the
    name of a gRPC status) and time. A result "?" is not known: the service ended before it, or the call has
    not ended.
    """
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich is slow to load
    from iplab.specs.plain import to_plain  # noqa: PLC0415 - messages only after connecting

    with service.connect() as client:
        found = list(client.audit(filter_, limit=limit + 1))
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json([to_plain(entry) for entry in found])
        return
    if not found:
        note("no calls match" if filter_ else "there are no calls yet")
        return
    headings = ["time (UTC)", "user", "from", "method", "resource", "project", "result"]
    print_table(table_of(headings, [_row(entry) for entry in found], folding={"resource"}))
    if more:
        note(f"the newest {limit}; there are more: --limit, --filter")


def _row(entry: AuditEntry) -> tuple[str, ...]:
    several = f" ({entry.calls} calls)" if entry.calls > 1 else ""
    return (
        entry.time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
        entry.user,
        entry.peer,
        entry.method.rpartition("/")[2],
        entry.resource,
        entry.project,
        (entry.code or "?") + several,
    )
