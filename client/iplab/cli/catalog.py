"""`iplab catalog`: what specs may name on a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ipcore.catalogue.activations import POWERS
from iplab.cli.app import Service, json_option, print_json
from iplab.display.terminal import echo, folded

if TYPE_CHECKING:
    from iplab.v1.catalog_service_pb2 import Catalog, Dataset

# Prefix of a dataset's description by its state; available ones have none.
_STATES = {0: "(not reported yet) ", 1: "", 2: "(unavailable) "}


@click.command()
@json_option
@click.pass_obj
def catalog(service: Service, *, as_json: bool) -> None:
    """Show the datasets, names and limits of specs."""
    from iplab.specs.plain import to_plain  # noqa: PLC0415 - messages only after connecting

    with service.connect() as client:
        found = client.catalog()
    plain = to_plain(found)
    if as_json:
        print_json(plain)
        return
    _print_datasets(found)
    _print_families(found)
    for field in found.DESCRIPTOR.fields:
        if field.message_type is None:  # lists of names
            powers = [f"{POWERS} (a rational p >= 1)"] if field.name == "activations" else []
            echo(folded(f"{field.name}: {', '.join([*getattr(found, field.name), *powers])}"))
    limits = plain["limits"]
    if isinstance(limits, dict):
        echo(folded("limits: " + ", ".join(f"{name} {value}" for name, value in limits.items())))


def _print_datasets(found: Catalog) -> None:
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich is slow to load

    headings = ["dataset", "inputs", "outputs", "train", "test", "description"]
    rows = []
    for d in found.datasets:
        state = _STATES.get(d.state, "(unknown) ")
        sizes = (d.input_dim or None, _outputs(d), d.train_size or None, d.test_size or None)
        rows.append((d.name, *sizes, f"{state}{d.description}"))
    print_table(table_of(headings, rows, folding={"description"}))
    for d in found.datasets:
        if d.problem or d.note:
            echo(folded(f"{d.name}: {d.problem or d.note}"))


def _outputs(dataset: Dataset) -> str | None:
    if dataset.classes:
        return f"{dataset.classes} classes"
    return f"{dataset.target_dim} targets" if dataset.target_dim else None


def _print_families(found: Catalog) -> None:
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - as above

    echo("\nfamilies of datasets, as 'parity:d=20,k=3':")
    for family in found.families:
        echo()
        rows = [(p.name, p.default_value, p.allowed, p.description) for p in family.parameters]
        headings = [family.name, "default", "allowed", "meaning"]
        title = f"{family.name}: {family.description}"
        print_table(table_of(headings, rows, title=title, folding={"allowed", "meaning"}))
    echo()
