"""Bounds on the requests of all methods: sizes of texts and lists, no unknown fields, no NUL.

Checked before a method sees the request, so that no request can make the service work on millions of
values. Rules of single fields (`FieldRule` in options.proto) raise or lower the general bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ipserver.errors import FieldViolation
from ipserver.request.fields import rule_of

# Characters of a text and entries of a list or map, where the field has no rule.
LONGEST_TEXT: Final = 1000
LONGEST_LIST: Final = 2000
# Only this many wrong fields are reported.
MOST_PROBLEMS: Final = 100


def budget_problems(message: Message) -> list[FieldViolation]:
    """The fields of a request that break a bound, at most `MOST_PROBLEMS` of them.

    Args:
        message: As received.

    Returns:
        Violations in the order of the fields; empty if the request is within its bounds.
    """
    return list(islice(_problems(message, ""), MOST_PROBLEMS))


def _problems(message: Message, path: str) -> Iterator[FieldViolation]:
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # its stubs lack __iter__
        where = f"{path}field {unknown.field_number}"
        yield FieldViolation(
            where,
            f"{message.DESCRIPTOR.full_name} has no field of this number here; leave it out, or ask a "
            "service of the client's version",
        )
    for field, value in message.ListFields():
        here = f"{path}{field.name}"
        if field.is_repeated:
            yield from _entries(field, value, here)
        elif field.message_type is not None:
            yield from _problems(value, f"{here}.")
        elif isinstance(value, str):
            yield from _text(field, value, here)


def _entries(field: FieldDescriptor, values: Any, path: str) -> Iterator[FieldViolation]:
    most = rule_of(field).most_values or LONGEST_LIST
    if len(values) > most:
        yield FieldViolation(path, f"has {len(values):,} entries; at most {most:,} are allowed")
        return
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _text(field, key, path)
            if isinstance(value, str):
                yield from _text(field, value, f"{path}[{key[:80]!r}]")
    elif field.message_type is not None:
        for i, value in enumerate(values):
            yield from _problems(value, f"{path}[{i}].")
    elif field.type == FieldDescriptor.TYPE_STRING:
        for i, value in enumerate(values):
            yield from _text(field, value, f"{path}[{i}]")


def _text(field: FieldDescriptor, text: str, path: str) -> Iterator[FieldViolation]:
    most = max(rule_of(field).longest, LONGEST_TEXT)  # a shorter rule is checked with its own message
    if len(text) > most:
        yield FieldViolation(path, f"has {len(text):,} characters; at most {most:,} are allowed")
    elif "\0" in text:
        yield FieldViolation(path, "holds a NUL character; remove it")
