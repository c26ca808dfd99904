"""Bad requests for every method, made from the protos' descriptors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from ipserver.api.server import SERVICES

_F = FieldDescriptor
_INTEGERS: Final = {
    _F.CPPTYPE_INT32: (-(2**31), -1, 0, 1, 2**31 - 1),
    _F.CPPTYPE_UINT32: (0, 1, 2**32 - 1),
    _F.CPPTYPE_INT64: (-(2**63), -1, 0, 1, 2**63 - 1),
    _F.CPPTYPE_UINT64: (0, 1, 2**64 - 1),
    _F.CPPTYPE_ENUM: (0, 1, 77),
}
_FLOATS: Final = (0.0, -0.0, -1.0, 0.1, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS: Final = (
    "",
    "a",
    "\0",
    "\n\x1b[31m",
    "e",
    "experiments/e",
    "experiments/e/runs/0",
    "experiments/e/runs/999999999999999999999",
    "experiments/../../etc/passwd",
    "experiments/e/runs/0/artifacts/../../x",
    "state = RUNNING AND",
    'parameterization = "\\',
    "width >= 1e999",
    "index = " + "9" * 500,
    "NOT " * 900,
    "(" * 900,
    "9" * 900,
    "1/0",
    "-1/3",
    "1e99999999",
    "\u202e\ud7ff\U0010ffff",
    "mup",
    "digits",
    "relu",
    "single-index:d=1000000000",
    "W1tdLFtdXQ",
    "x" * 1000,
    "x" * 5000,
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of iplab.v1.

    Attributes:
        path: As gRPC names it.
        request: Class of its requests.
        response: Class of its responses.
        streams: Whether it answers with a stream.
    """

    path: str
    request: type[Message]
    response: type[Message]
    streams: bool


def methods() -> list[Method]:
    """All methods of the services of iplab.v1, by their descriptors."""
    pool = descriptor_pool.Default()
    found = []
    for name in SERVICES:
        if name.startswith("iplab."):
            service = pool.FindServiceByName(name)
            found += [_method(service.full_name, method) for method in service.methods]
    return found


def _method(service: str, method: MethodDescriptor) -> Method:
    return Method(
        f"/{service}/{method.name}",
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
        method.server_streaming,
    )


def bad_bytes(method: Method, source: random.Random) -> Iterator[tuple[str, bytes]]:
    """Endless bad (and by chance good) requests of a method, each with the class it is of."""
    while True:
        filled = _filled(method.request.DESCRIPTOR, source, depth=0)
        data = filled.SerializeToString()
        yield "values", data
        yield "cut", data[: source.randrange(len(data) + 1)]
        yield "flipped", _flipped(data, source)
        yield "noise", source.randbytes(source.choice((1, 10, 1000)))
        yield "unknown field", data + b"\xf8\x3e\x07"
        yield "nested", b"\x0a\x02" * 2000
        yield "long field", b"\x0a" + _varint(200_000) + b"x" * 200_000
        yield "larger than allowed", b"\x0a" + _varint(16 * 2**20) + b"x" * (16 * 2**20)


def _filled(kind: Descriptor, source: random.Random, depth: int) -> Message:
    """A message with some fields set to odd values."""
    message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if source.random() < (0.35 if depth else 0.1):
            continue
        _fill(message, field, source, depth)
    return message


def _fill(message: Message, field: FieldDescriptor, source: random.Random, depth: int) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        for _ in range(source.choice((0, 1, 3))):
            value = _value(kind.fields_by_name["value"], source)
            if value is not None:
                getattr(message, field.name)[source.choice(_TEXTS)] = value
    elif field.is_repeated:
        entries = getattr(message, field.name)
        for _ in range(source.choice((0, 1, 1, 2, 3, 50))):
            if kind is None:
                entries.append(_value(field, source))
            elif depth < 4:
                entries.add().CopyFrom(_filled(kind, source, depth + 1))
    elif kind is None:
        setattr(message, field.name, _value(field, source))
    elif depth < 4:
        getattr(message, field.name).CopyFrom(_filled(kind, source, depth + 1))


def _value(field: FieldDescriptor, source: random.Random) -> Any:
    if field.cpp_type in _INTEGERS:
        return source.choice(_INTEGERS[field.cpp_type])
    if field.cpp_type in (_F.CPPTYPE_DOUBLE, _F.CPPTYPE_FLOAT):
        return source.choice(_FLOATS)
    if field.cpp_type == _F.CPPTYPE_BOOL:
        return source.random() < 0.5
    if field.type == _F.TYPE_BYTES:
        return source.randbytes(10)
    return source.choice(_TEXTS) if field.cpp_type == _F.CPPTYPE_STRING else None


def _flipped(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(min(3, len(changed))):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
