"""Tables of a service's catalog and projects, for the command line and notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ipcore.catalogue.activations import POWERS
from iplab.display.tables import table_of
from iplab.specs.plain import to_plain
from iplab.v1.options_pb2 import Role

if TYPE_CHECKING:
    from rich.table import Table

    from iplab.v1.catalog_service_pb2 import Catalog, Dataset
    from iplab.v1.quota_service_pb2 import ListQuotasResponse, Quota

# Prefix of a dataset's description by its state; available ones have none.
_STATES: Final = {0: "(not reported yet) ", 1: "", 2: "(unavailable) "}


def datasets_table(found: Catalog) -> Table:
    """A row per dataset."""
    headings = ["dataset", "inputs", "outputs", "train", "test", "description"]
    rows = []
    for d in found.datasets:
        state = _STATES.get(d.state, "(unknown) ")
        sizes = (d.input_dim or None, _outputs(d), d.train_size or None, d.test_size or None)
        rows.append((d.name, *sizes, f"{state}{d.description}"))
    return table_of(headings, rows, folding={"description"})


def dataset_remarks(found: Catalog) -> Iterator[str]:
    """Why datasets are unavailable, and notes on others."""
    for d in found.datasets:
        if d.problem or d.note:
            yield f"{d.name}: {d.problem or d.note}"


def family_tables(found: Catalog) -> Iterator[Table]:
    """A table of parameters for each family of datasets."""
    for family in found.families:
        rows = [(p.name, p.default_value, p.allowed, p.description) for p in family.parameters]
        headings = [family.name, "default", "allowed", "meaning"]
        title = f"{family.name}: {family.description}"
        yield table_of(headings, rows, title=title, folding={"allowed", "meaning"})


def names(found: Catalog) -> Iterator[tuple[str, str]]:
    """Each list of names that specs may use, and the limits."""
    for field in found.DESCRIPTOR.fields:
        if field.message_type is None:
            powers = [f"{POWERS} (a rational p >= 1)"] if field.name == "activations" else []
            yield field.name, ", ".join([*getattr(found, field.name), *powers])
    limits = to_plain(found.limits)
    yield "limits", ", ".join(f"{name} {value}" for name, value in limits.items())


def projects(found: ListQuotasResponse) -> Iterator[tuple[str, Table | None]]:
    """Each project with the caller's role, and a table of the use of its limits; None without limits."""
    for project in found.projects:
        role = Role.Name(project.role).removeprefix("ROLE_").lower()
        sentence = f"project {project.project}: {found.user or 'everyone'} is {role}"
        yield sentence, _limits(project.quotas) if project.quotas else None


def _limits(quotas: Sequence[Quota]) -> Table:
    headings = ["limit", "of", "used", "at most", "until", "meaning"]
    return table_of(headings, [_row(one) for one in quotas], folding={"meaning"})


def _row(one: Quota) -> tuple[str, ...]:
    used = f"{one.used:,.6g}" if one.HasField("used") else ""
    until = one.reset_time.ToDatetime().strftime("%Y-%m-%d") if one.HasField("reset_time") else ""
    return one.limit, one.user or "the project", used, f"{one.most:,.6g}", until, one.meaning


def _outputs(dataset: Dataset) -> str | None:
    if dataset.classes:
        return f"{dataset.classes} classes"
    return f"{dataset.target_dim} targets" if dataset.target_dim else None
