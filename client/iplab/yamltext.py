"""YAML and JSON text to plain values, exactly, with the line of every value.

YAML is read by the rules of version 1.2 (its core schema), where PyYAML's own are those of 1.1: `1e-2` is a
number, `no` and `on` are text. Numbers with a point or an exponent become `decimal.Decimal`, so that an
exponent written 0.1 stays 1/10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

from iplab.errors import SpecError, Violation

Lines = dict[str, int]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values and where they stood.

    Attributes:
        value: dict, list, str, int, Decimal, bool or None.
        lines: Line, from 1, of every value by its path ("spec.grid.widths[1]").
    """

    value: object
    lines: Lines = field(default_factory=dict)


def parse_yaml(text: str, source: str) -> Document:
    """Read one YAML document.

    Args:
        text: The document.
        source: Its name, for errors.

    Raises:
        SpecError: Malformed (line and column named), a key given twice, or more than one document.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None)
        lines: Lines = {}
        repeated: list[Violation] = []
        _locate(node, "", lines, repeated)
        if repeated:
            raise SpecError(repeated, source)
        return Document(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"column {mark.column + 1}: " if mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise SpecError(
            [Violation("", f"{place}not YAML: {said}", mark.line + 1 if mark else 0)], source
        ) from None
    except yaml.YAMLError as error:  # a character that YAML does not permit
        raise SpecError([Violation("", f"not YAML: {' '.join(str(error).split())}")], source) from None


def parse_json(text: str, source: str) -> Document:
    """Read one JSON document.

    Raises:
        SpecError: Malformed (line and column named), or a key given twice.
    """
    repeated: list[Violation] = []

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        repeated.extend(
            Violation(key, "is given more than once; keep one")
            for key in dict.fromkeys(keys)
            if keys.count(key) > 1
        )
        return dict(pairs)

    try:
        value = json.loads(text, parse_float=Decimal, object_pairs_hook=build)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}: not JSON: {error.msg}"
        raise SpecError([Violation("", place, error.lineno)], source) from None
    if repeated:
        raise SpecError(repeated, source)
    return Document(value)


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's protocol


def _number(loader: _Loader, node: yaml.ScalarNode) -> Decimal:
    text = loader.construct_scalar(node).lower()
    return Decimal(text.replace(".inf", "inf").replace(".nan", "nan"))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text.startswith(("0x", "0o")) else int(text)


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> bool:
    return loader.construct_scalar(node).lower() == "true"


_TAG = "tag:yaml.org,2002:"
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    _TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    _TAG + "int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_constructor(_TAG + "float", _number)
_Loader.add_constructor(_TAG + "int", _integer)
_Loader.add_constructor(_TAG + "bool", _boolean)


def _locate(node: yaml.Node, path: str, lines: Lines, repeated: list[Violation]) -> None:
    """Note the line of every value below `node`, and the keys that are given twice."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for position, entry in enumerate(node.value):
            _locate(entry, f"{path}[{position}]", lines, repeated)
    elif isinstance(node, yaml.MappingNode):
        first: dict[Hashable, Any] = {}
        for key, entry in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if key.value in first:
                message = f"is given more than once, first in line {first[key.value]}; keep one"
                repeated.append(Violation(below, message, line))
            first.setdefault(key.value, line)
            lines.setdefault(below, line)
            _locate(entry, below, lines, repeated)
