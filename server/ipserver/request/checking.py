"""The one validator of fields: every number, name and text of a message against its rule."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.fields import (
    fields_of,
    has_unknown_name,
    rule_of,
    setting_of,
    used_settings,
    users_of,
    value_problem,
)
from ipserver.request.problems import Problems, shown


def check_fields(message: Message, path: str, limits: Limits, problems: Problems) -> None:
    """Check the singular fields of a message and of its submessages. Callers check lists themselves.

    Args:
        message: With its defaults.
        path: Path of the message; "" for a request.
        limits: Limits of this service.
        problems: Collects the violations.
    """
    used, unknown = used_settings(message), has_unknown_name(message)
    for field in fields_of(message).values():
        here, value, given = f"{path}.{field.name}", getattr(message, field.name), _is_given(message, field)
        if field.message_type is not None:
            if given and not field.is_repeated:
                check_fields(value, here, limits, problems)
        elif unknown and field.name != "name":
            continue  # an unknown name uses no known fields
        elif given and used is not None and field.name not in ("name", *used):
            name, users = getattr(message, "name", ""), ", ".join(users_of(message, field.name))
            problems.add(here, f"is not used by {name!r} but by {users}; remove it or change the name")
        elif not field.is_repeated and (given or not (field.has_presence or rule_of(field).left_out)):
            check_value(field, value, here, limits, problems)


def check_value(field: FieldDescriptor, value: Any, path: str, limits: Limits, problems: Problems) -> bool:
    """Check one value of a field, or one entry of a list. Returns whether it is valid."""
    before = len(problems.found)
    setting, longest = setting_of(field), rule_of(field).longest
    if isinstance(value, str) and longest:
        check_text(path, value, longest, problems, several_lines=rule_of(field).several_lines)
    elif setting is not None and (choice := setting.choice) is not None:
        problems.name(path, value, choice.kind, choice.names)
    elif text := value_problem(field, value, limits):
        problems.add(path, text)
    return len(problems.found) == before


def check_text(
    path: str, text: str, longest: int, problems: Problems, *, several_lines: bool = False
) -> None:
    """Check free text: bounded length, printable characters only, and by default a single line."""
    if len(text) > longest:
        problems.add(path, f"has {len(text)} characters; at most {longest} are allowed")
    if several_lines:
        text = text.replace("\r\n", "").replace("\n", "").replace("\t", "")
    if not text.isprintable():
        lines = "plain text" if several_lines else "one line of plain text"
        problems.add(path, f"{shown(text)} has characters that cannot be printed; use {lines}")


def _is_given(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return bool(getattr(message, field.name))
