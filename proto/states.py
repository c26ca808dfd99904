#!/usr/bin/env python
"""Plugin of protoc: enums of the API as Python's, so that states have one source.

    protoc --plugin=protoc-gen-states=proto/states.py --states_opt=FILE=ENUM+ENUM... --states_out=FOLDER ...

Each file of the option gets a `StrEnum` for each of its enums: the values without their prefix, in the order
of the proto, and `terminal` if comments of values begin with "Terminal:". With "UNKNOWN" among the names (for
clients, which may meet a newer service), every enum also has UNKNOWN and `read`.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorProto

_ENUM_TYPES, _VALUES = 5, 2  # numbers in FileDescriptorProto and EnumDescriptorProto, for paths of comments
_UNKNOWN = "UNKNOWN"
_HEADER = '''"""States as the API names them, without their prefixes.

Generated from proto/ (make proto); do not edit.
"""

from __future__ import annotations

from enum import StrEnum
'''
_READ = '''

class ApiEnum(StrEnum):
    """Values that a service sends by name."""

    @classmethod
    def read(cls, name: str) -> Self:
        """By name; a newer service may send one that is UNKNOWN here."""
        return cls(name) if name in cls.__members__ else cls("UNKNOWN")
'''


def _class(file: FileDescriptorProto, position: int, base: str) -> Iterator[str]:
    enum = file.enum_type[position]
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def comment(*path: int) -> str:
        return " ".join(comments.get((_ENUM_TYPES, position, *path), "").split())

    prefix = re.sub("(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    values = [
        (value.name.removeprefix(prefix), comment(_VALUES, i))
        for i, value in enumerate(enum.value)
        if value.number
    ]
    yield f"class {enum.name}({base}):"
    meaning, _, more = comment().partition(". ")
    text = f"{meaning.removesuffix('.')} (`iplab.v1.{enum.name}` without its prefix). {more}".strip()
    yield textwrap.indent(f'"""{textwrap.fill(text, 103)}"""\n', "    ", lambda line: bool(line.strip()))
    if base != "StrEnum":
        yield f'    # What only a newer service knows; or nothing yet.\n    {_UNKNOWN} = "{_UNKNOWN}"'
    for name, text in values:
        yield textwrap.fill(text, 106, initial_indent="    # ", subsequent_indent="    # ")
        yield f'    {name} = "{name}"'
    if ends := [name for name, text in values if text.startswith("Terminal:")]:
        members = ", ".join(f"self.{name}" for name in ends)
        yield f'''
    @property
    def terminal(self) -> bool:
        """Whether it is an end."""
        return self in {{{members}}}'''


def generate(files: Sequence[FileDescriptorProto], wanted: Sequence[str]) -> str:
    """The source of the module. Raises ValueError if a wanted enum is in none of the files."""
    reads = _UNKNOWN in wanted
    names = [name for name in wanted if name != _UNKNOWN]
    found = {enum.name: (file, i) for file in files for i, enum in enumerate(file.enum_type)}
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"there is no enum {', '.join(missing)}")
    header = _HEADER + ("from typing import Self\n" + _READ if reads else "")
    classes = ["\n".join(_class(*found[name], "ApiEnum" if reads else "StrEnum")) for name in names]
    return header + "".join(f"\n\n{text}\n" for text in classes)


def main() -> None:
    """Answer protoc's request on standard input."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    files = [file for file in request.proto_file if file.name in request.file_to_generate]
    asked = [part.partition("=") for part in request.parameter.split(",")]
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
        file=[
            CodeGeneratorResponse.File(name=name, content=generate(files, enums.split("+")))
            for name, _, enums in asked
        ],
    )
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
