"""Parses `order_by` (AIP-132): fields separated by commas, each optionally followed by `desc`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from iplab.specs.vocabulary import field_named, meant
from ipserver.api.filters import FieldType
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.store.records.filters import Order

_MOST_KEYS: Final = 10
_DIRECTIONS: Final = {"asc": False, "desc": True}


def parse_order(text: str, fields: Mapping[str, FieldType]) -> tuple[Order, ...]:
    """Parse an order.

    Args:
        text: The order of a request; blank means none.
        fields: The known fields, as for filters.

    Raises:
        InvalidRequest: The order is malformed; the violation says why.

    >>> from ipserver.api.filters import RUN_FIELDS
    >>> parse_order("final_test_loss desc, width", RUN_FIELDS)
    (Order(field='final_test_loss', descending=True), Order(field='width', descending=False))
    """
    if not text.strip():
        return ()
    keys = tuple(_key(part, fields) for part in text.split(","))
    if len(keys) > _MOST_KEYS:
        raise _wrong(f"has {len(keys)} fields; at most {_MOST_KEYS} are allowed")
    for n, key in enumerate(keys):
        if key.field in {earlier.field for earlier in keys[:n]}:
            raise _wrong(f"has {key.field!r} twice; keep the first")
    return keys


def _key(part: str, fields: Mapping[str, FieldType]) -> Order:
    name, *rest = part.split() or [""]
    if not name:
        raise _wrong("has nothing between two commas; write FIELD or FIELD desc")
    if len(rest) > 1 or (rest and rest[0].lower() not in _DIRECTIONS):
        raise _wrong(f"expected FIELD or FIELD desc, not {part.strip()[:80]!r}")
    field = field_named(name, fields)
    if field is None:
        near = meant(name[:80], fields)
        hint = f"did you mean {near!r}? There are: " if near else "there are: "
        raise _wrong(f"unknown field {name[:80]!r}; {hint}{', '.join(fields)}")
    return Order(field, bool(rest) and _DIRECTIONS[rest[0].lower()])


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation("order_by", message)])
