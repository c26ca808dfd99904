"""`iplab catalog`: what specs may name on a service."""

from __future__ import annotations

import click

from iplab.cli.app import Service, json_option, print_json
from iplab.display.terminal import echo, folded


@click.command()
@json_option
@click.pass_obj
def catalog(service: Service, *, as_json: bool) -> None:
    """Show the datasets, names and limits of specs."""
    from iplab.display import catalog as shown  # noqa: PLC0415 - rich is slow to load
    from iplab.display.tables import print_table  # noqa: PLC0415 - as above
    from iplab.specs.plain import to_plain  # noqa: PLC0415 - messages only after connecting

    with service.connect() as client:
        found = client.catalog()
    if as_json:
        print_json(to_plain(found))
        return
    print_table(shown.datasets_table(found))
    for remark in shown.dataset_remarks(found):
        echo(folded(remark))
    echo("\nfamilies of datasets, as 'parity:d=20,k=3':")
    for table in shown.family_tables(found):
        echo()
        print_table(table)
    echo()
    for kind, listed in shown.names(found):
        echo(folded(f"{kind}: {listed}"))
