#!/usr/bin/env python
"""Plugin of protoc: classes that give a message's fields as typed, documented, read-only attributes.

    protoc --plugin=protoc-gen-fields=proto/fields.py --fields_opt=Run,Experiment --fields_out=client ...

The file `iplab/v1/fields.py` gets one class per message that is named in the option. For the message `Run` it
is `RunFields`; who derives from it sets `_run` to the message. Fields of other messages and of enums are left
out: their types are written by hand in the client.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

_HEADER = '''"""Fields of messages as typed, read-only attributes.

Generated from proto/ (make proto); do not edit.
"""

from __future__ import annotations

from datetime import UTC, datetime

'''
_TYPES = {
    FieldDescriptorProto.TYPE_DOUBLE: "float",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_UINT64: "int",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
}
_MESSAGE_TYPES, _FIELDS = 4, 2  # numbers in FileDescriptorProto and DescriptorProto, for paths of comments


def _attribute(entry: FieldDescriptorProto, message: DescriptorProto) -> tuple[str, str] | None:
    """Type and value of the attribute, where `{}` stands for the message; None: left out."""
    value, present = f"{{}}.{entry.name}", f'{{}}.HasField("{entry.name}")'
    repeated = entry.label == FieldDescriptorProto.LABEL_REPEATED
    if kind := _TYPES.get(entry.type):
        if repeated:
            return f"tuple[{kind}, ...]", f"tuple({value})"
        if entry.proto3_optional:
            return f"{kind} | None", f"{value} if {present} else None"
        return kind, value
    if entry.type_name == ".google.protobuf.Timestamp" and not repeated:
        return "datetime | None", f"{value}.ToDatetime(tzinfo=UTC) if {present} else None"
    nested = {f".{kind.name}": kind for kind in message.nested_type if kind.options.map_entry}
    for ending, mapping in nested.items():
        kinds = [_TYPES.get(part.type) for part in mapping.field]
        if entry.type_name.endswith(ending) and None not in kinds:
            return f"dict[{', '.join(map(str, kinds))}]", f"dict({value})"
    return None


def _docstring(text: str, indent: str) -> str:
    wrapped = textwrap.wrap(text.replace("\\", "\\\\"), 100)
    body = wrapped[0] if len(wrapped) == 1 else "\n".join([*wrapped, ""])
    quoted = f'"""{" " if body.startswith(chr(34)) else ""}{body}"""'
    return textwrap.indent(quoted, indent, lambda line: bool(line.strip()))


def _class(file: FileDescriptorProto, position: int) -> Iterator[str]:
    message = file.message_type[position]
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def comment(*path: int) -> str:
        text = " ".join(comments.get((_MESSAGE_TYPES, position, *path), "").split())
        return text.replace(" Output only.", "")

    own = "_" + re.sub("(?<=[a-z])(?=[A-Z])", "_", message.name).lower()
    module = file.name.rpartition("/")[2].removesuffix(".proto") + "_pb2"
    yield f"class {message.name}Fields:"
    yield _docstring(comment() or f"Fields of {message.name}.", "    ")
    yield f"\n    {own}: {module}.{message.name}"
    for number, entry in enumerate(message.field):
        if attribute := _attribute(entry, message):
            kind, value = attribute
            text = comment(_FIELDS, number)
            if kind.endswith("None"):
                ending = (
                    " (UTC); None until then."
                    if kind.startswith("datetime")
                    else "; None until there is one."
                )
                text = text.removesuffix(".") + ending
            yield f"\n    @property\n    def {entry.name}(self) -> {kind}:"
            yield _docstring(text, " " * 8)
            yield f"        return {value.replace('{}', f'self.{own}')}"


def generate(files: Sequence[FileDescriptorProto], wanted: Sequence[str]) -> str:
    """The source of the module. Raises ValueError if a wanted message is in none of the files."""
    found = {m.name: (file, i) for file in files for i, m in enumerate(file.message_type)}
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"there is no message {', '.join(missing)}")
    modules = sorted({found[name][0].name.rpartition("/")[2].removesuffix(".proto") for name in wanted})
    imports = f"from iplab.v1 import {', '.join(f'{module}_pb2' for module in modules)}\n"
    classes = ["\n".join(_class(*found[name])) for name in wanted]
    return _HEADER + imports + "".join(f"\n\n{text}\n" for text in classes)


def main() -> None:
    """Answer protoc's request on standard input."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    files = [file for file in request.proto_file if file.name in request.file_to_generate]
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
        file=[
            CodeGeneratorResponse.File(
                name="iplab/v1/fields.py", content=generate(files, request.parameter.split(","))
            )
        ],
    )
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
