"""`iplab audit`: the audit log of changes and refused calls."""

from __future__ import annotations

import click

from iplab.cli.app import Service, json_option, note, print_json


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
    from iplab.display.listed import AUDIT_HEADINGS, audit_row  # noqa: PLC0415 - as below
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
    columns = dict(zip(AUDIT_HEADINGS, zip(*map(audit_row, found), strict=True), strict=True))
    title = ""
    if len(found) > 1 and len(set(columns["project"])) == 1 and found[0].project:
        title = f"project {found[0].project}"
        del columns["project"]
    rows = zip(*columns.values(), strict=True)
    print_table(table_of(list(columns), rows, title, folding={"user", "resource"}))
    if more:
        note(f"the newest {limit}; there are more: --limit, --filter")
