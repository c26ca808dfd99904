#!/usr/bin/env python
"""Writes the fields of `Optimizer`, `Schedule` and `Model` in spec.proto from the settings that are declared.

    python proto/settings.py           # rewrite proto/iplab/v1/spec.proto (make proto)
    python proto/settings.py --check   # fail if it would change (make check)

The declarations are in `ipcore.catalogue` and `ipcore.models`. A field that exists keeps its number, type and
options; its comment is the declaration. A new setting gets the next number. It is left out of specs that do
not give it (`FieldRule.left_out`), so that older specs keep their hash. The first field of a message, its
name, is written by hand.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipcore.catalogue import optimizers, schedules
from ipcore.catalogue.settings import Setting, settings
from ipcore.models import MODELS

_PROTO = Path(__file__).parent / "iplab" / "v1" / "spec.proto"
_TYPES = {int: "int32", float: "double", str: "string"}
_FIELD = re.compile(
    r"^  (?P<kind>[\w ]+) (?P<name>\w+) = (?P<number>\d+)(?P<options> \[.*\])?;$", re.MULTILINE
)


@dataclass(frozen=True)
class Part:
    """The settings of a message, and which entries of which table use each.

    Attributes:
        settings: By name, in the order of the declaration.
        entries: Names of all entries.
        users: Names of those that use a setting.
    """

    settings: Mapping[str, Setting]
    entries: Sequence[str]
    users: Mapping[str, Sequence[str]]


def parts() -> dict[str, Part]:
    """What is declared, by the name of the message."""
    return {
        "Optimizer": _part(optimizers.OptimizerSettings, optimizers.OPTIMIZERS, optimizers.users_of),
        "Schedule": _part(schedules.Schedule, schedules.SCHEDULES, schedules.users_of),
        "Model": _models(),
    }


def _part(owner: type, entries: Mapping[str, object], users_of: Any) -> Part:
    found = {name: setting for name, setting in settings(owner).items() if name != "name"}
    return Part(found, list(entries), {name: users_of(name) for name in found})


def _models() -> Part:
    found: dict[str, Setting] = {}
    users: dict[str, list[str]] = {}
    for name, model in MODELS.items():
        for key, setting in settings(model).items():
            found.setdefault(key, setting)
            users.setdefault(key, []).append(name)
    return Part(found, list(MODELS), users)


def _comment(setting: Setting, part: Part) -> str:
    default = "" if setting.default in (None, ()) else f"Default: {_quoted(setting.default)}."
    allowed = f"Allowed: {setting.allowed}." if setting.rules else ""
    text = f"{_users(part, setting.name)}{setting.meaning}. {allowed} {default}".strip().replace("  ", " ")
    indent = "  // "
    return textwrap.fill(
        f"{text[0].upper()}{text[1:]}",
        118,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _users(part: Part, setting: str) -> str:
    """As 'With "linear" and "cosine": '; "" if all entries use the setting."""
    users = part.users[setting]
    others = [name for name in part.entries if name not in users]
    if not others:
        return ""
    listed = users if len(users) <= len(others) else others
    names = [_quoted(name) for name in listed]
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"With {text}: " if listed is users else f"With all but {text}: "


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _new_field(setting: Setting, number: int) -> str:
    kind = _TYPES[setting.kind]
    presence = "repeated " if setting.repeated else "" if setting.kind is str else "optional "
    return f"  {presence}{kind} {setting.name} = {number} [(rule).left_out = true];"


def written(source: str) -> str:
    """The text of spec.proto as the declarations want it.

    Raises:
        ValueError: A field is no longer declared. Its number must not be used again: replace the field by
            `reserved`.
    """
    for message, part in parts().items():
        block = re.search(rf"^message {message} {{\n.*?^}}\n", source, re.MULTILINE | re.DOTALL)
        if block is None:
            raise ValueError(f"there is no message {message}")
        fields = list(_FIELD.finditer(block[0]))
        first, *others = fields
        known = {field["name"]: field for field in others}
        if gone := [name for name in known if name not in part.settings]:
            raise ValueError(
                f"{message}: {', '.join(gone)} is no setting any more; write `reserved` for its number"
            )
        taken = [
            int(number)
            for number in re.findall(r"= (\d+)|reserved (\d+)", block[0])
            for number in number
            if number
        ]
        lines = [block[0][: first.end()]]
        for name in sorted(
            part.settings, key=lambda name: int(known[name]["number"]) if name in known else 10**6
        ):
            setting = part.settings[name]
            number = max(taken) + 1
            if name not in known:
                taken.append(number)
            lines += [
                _comment(setting, part),
                known[name][0] if name in known else _new_field(setting, number),
            ]
        reserved = re.findall(r"^  reserved .*;$", block[0], re.MULTILINE)
        source = source.replace(block[0], "\n".join([*lines, *reserved, "}", ""]))
    return source


def main() -> None:
    """Write, or with --check compare."""
    before = _PROTO.read_text(encoding="utf-8")
    after = written(before)
    if "--check" in sys.argv[1:]:
        if before != after:
            sys.exit("proto/iplab/v1/spec.proto is not what the settings declare: run 'make proto'")
    else:
        _PROTO.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
