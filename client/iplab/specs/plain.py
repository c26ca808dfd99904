"""Messages as plain Python values, for `--json` and printing.

Unlike in protobuf's JSON form, int64 is a number, enums have no prefix ("SUCCEEDED"), every field is present
(unset fields with presence and unset enums are None), and names are those of specs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def to_plain(message: Message) -> dict[str, object]:
    """Any message of iplab.v1 as a dict of dicts, lists, numbers, text and None.

    >>> from iplab.v1.run_pb2 import Attempt
    >>> to_plain(Attempt(number=1))["end_reason"], to_plain(Attempt(number=1))["end_time"]
    (None, None)
    """
    fields = cast(Sequence[FieldDescriptor], message.DESCRIPTOR.fields)
    return {entry.name: _field(message, entry) for entry in fields}


def time_of(stamp: Timestamp) -> datetime:
    """A timestamp as an aware datetime in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def time_text(moment: datetime) -> str:
    """The form of all times in JSON and CSV: UTC in milliseconds.

    >>> time_text(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _field(message: Message, entry: FieldDescriptor) -> object:
    value = getattr(message, entry.name)
    if entry.message_type and entry.message_type.GetOptions().map_entry:
        return dict(value)
    if entry.is_repeated:
        return [_single(one, entry) for one in value]
    if entry.has_presence and not message.HasField(entry.name):
        return None
    return _single(value, entry)


def _single(value: object, entry: FieldDescriptor) -> object:
    if isinstance(value, Timestamp):
        return time_text(time_of(value))
    if isinstance(value, Message):
        return to_plain(value)
    if entry.enum_type:
        return enum_name(entry.enum_type, cast(int, value)) if value else None
    return value


def enum_name(kind: EnumDescriptor, number: int) -> str:
    """Name of an enum's value without its prefix; "UNKNOWN" for a value that this version lacks."""
    if number not in kind.values_by_number:
        return "UNKNOWN"
    # The value 0 is always <PREFIX>_UNSPECIFIED.
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return kind.values_by_number[number].name.removeprefix(prefix)
