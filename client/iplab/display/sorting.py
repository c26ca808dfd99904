"""`--sort`: rows in the order of some of their fields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from iplab.errors import InvalidRequestError, Violation
from iplab.results.summary import Spread
from iplab.specs.vocabulary import field_named, meant

Row = TypeVar("Row")


def in_order(
    rows: Sequence[Row], keys: str, known: Collection[str], value: Callable[[Row, str], object]
) -> list[Row]:
    """Rows sorted by fields; rows without a value come last.

    Args:
        rows: Rows to sort.
        keys: Names of fields separated by commas, each "-name" for descending.
        known: Names of the existing fields.
        value: Returns a row's value of a field.

    Raises:
        InvalidRequestError: There is no such field; names the nearest.

    >>> in_order([{"a": 1}, {"a": None}, {"a": 3}], "-a", ["a"], lambda row, key: row[key])
    [{'a': 3}, {'a': 1}, {'a': None}]
    """
    ordered = list(rows)
    for key in reversed([part.strip() for part in keys.split(",") if part.strip()]):
        descending = key.startswith("-")
        name = key.removeprefix("-").strip()
        field = column(name, known, "sort")
        found = [(_plain(value(row, field)), row) for row in ordered]
        there = [(v, row) for v, row in found if v is not None]
        # Sorting is stable, so equal rows keep the order of less significant keys.
        there.sort(key=lambda entry: entry[0], reverse=descending)  # type: ignore[arg-type,return-value] # of one type each
        ordered = [row for _, row in there] + [row for v, row in found if v is None]
    return ordered


def column(name: str, known: Collection[str], option: str) -> str:
    """The column that a name means.

    Args:
        name: As people write it.
        known: Columns there are.
        option: Where it was written, for the message.

    Raises:
        InvalidRequestError: No such column; the nearest is named.
    """
    field = field_named(name, known)
    if field is None:
        near = meant(name, known)
        hint = f"did you mean {near}? There are: " if near else "there are: "
        raise InvalidRequestError([Violation(option, f"no column {name!r}; {hint}{', '.join(known)}")])
    return field


def order_by(keys: str) -> str:
    """Convert `keys` to the form of the service's requests.

    >>> order_by("-test_loss, width")
    'test_loss desc, width'
    """
    parts = [part.strip() for part in keys.split(",") if part.strip()]
    return ", ".join(
        f"{part.removeprefix('-').strip().replace(' ', '_')} desc"
        if part.startswith("-")
        else part.replace(" ", "_")
        for part in parts
    )


def _plain(value: object) -> object:
    return value.mean if isinstance(value, Spread) else value
