"""Conversion of messages of iplab.v1 to frozen dataclasses.

A dataclass has fields with the names of fields of its message; annotations determine the conversion:

    annotation              field of the message
    int, float, bool, str   the same
    X | None                with presence; None if it is unset
    str                     an enum: the value's name without its prefix
    a class with `read`     an enum: what `read` makes of that name (`iplab.results.states`)
    datetime                a timestamp, in UTC
    a dataclass             a message, converted in the same way
    tuple[X, ...]           repeated

A value that is not a field of the message has a function: `field(metadata=computed(function))`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import partial
from types import NoneType
from typing import Any, Protocol, Self, TypeVar, cast, get_args, get_type_hints

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from iplab.specs.plain import enum_name, time_of

Kind = TypeVar("Kind")
Readers = dict[str, Callable[[Message], object]]

# How each field is read, by dataclass and message.
_known: dict[tuple[type, str], Readers] = {}


class Named(Protocol):
    """A Python enum that is read from the name of a proto's value."""

    @classmethod
    def read(cls, name: str) -> Self:
        """The member for that name."""


Member = TypeVar("Member", bound=Named)


def read(kind: type[Kind], message: Message, **given: object) -> Kind:
    """The dataclass `kind`, with values from a message.

    Args:
        kind: A dataclass whose fields are fields of the message, computed from it, or given.
        message: The message.
        given: Values of fields that the message lacks.

    Raises:
        TypeError: A field of the dataclass is none of these.

    >>> from iplab.results.artifacts import Artifact
    >>> from iplab.v1.run_pb2 import Artifact as Message
    >>> read(Artifact, Message(path="weights/final.safetensors", step=20)).step
    20
    """
    key = (kind, message.DESCRIPTOR.full_name)
    if key not in _known:
        _known[key] = _readers(kind, cast(Descriptor, message.DESCRIPTOR))
    return kind(**{name: get(message) for name, get in _known[key].items()} | given)


def computed(function: Callable[[Any], object]) -> dict[str, Callable[[Any], object]]:
    """Metadata of a dataclass's field whose value is a function of the message."""
    return {"computed": function}


def member(kind: type[Member], message: Message, name: str) -> Member:
    """The enum field `name` of a message as a member of a Python enum."""
    entry = cast(Descriptor, message.DESCRIPTOR).fields_by_name[name]
    return kind.read(enum_name(cast(EnumDescriptor, entry.enum_type), getattr(message, name)))


def _readers(kind: type, message: Descriptor) -> Readers:
    hints, readers = get_type_hints(kind), Readers()
    for attribute in fields(kind):
        if "computed" in attribute.metadata:
            readers[attribute.name] = attribute.metadata["computed"]
        elif entry := message.fields_by_name.get(attribute.name):
            readers[attribute.name] = _reader(hints[attribute.name], entry)
    return readers


def _reader(hint: Any, entry: FieldDescriptor) -> Callable[[Message], object]:
    arguments = get_args(hint)
    if entry.is_repeated:
        convert = _converter(arguments[0], entry)
        return lambda message: tuple(convert(value) for value in getattr(message, entry.name))
    if NoneType in arguments:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        convert = _converter(inner, entry)
        return lambda message: convert(getattr(message, entry.name)) if message.HasField(entry.name) else None
    convert = _converter(hint, entry)
    return lambda message: convert(getattr(message, entry.name))


def _converter(hint: Any, entry: FieldDescriptor) -> Callable[[Any], object]:
    if enum := entry.enum_type:
        name_of = partial(enum_name, enum)
        return name_of if hint is str else lambda number: hint.read(name_of(number))
    if hint is datetime:
        return time_of
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(read, hint)
    return lambda value: value
