"""Filters of listings as trees of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One term of a filter. It is false where the value is absent.

    Attributes:
        field: A field name of the listing ("width", "labels.team").
        op: The operator.
        value: Value, of the field's type.
    """

    field: str
    op: Operator
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Junction:
    """Several conditions: all must hold ("AND"), or at least one ("OR").

    Of no conditions, AND is true and OR is false.
    """

    word: Literal["AND", "OR"]
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """A negated condition: true where the condition is false, also where a value is absent."""

    part: Filter


Filter = Comparison | Junction | Negation


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an order. Records without a value come last, in either direction.

    Attributes:
        field: A field name of the listing.
        descending: Whether the largest value comes first.
    """

    field: str
    descending: bool = False


ALL: Final = Junction("AND", ())


def both(one: Filter, other: Filter) -> Filter:
    """The condition that both hold."""
    return Junction("AND", (one, other))
