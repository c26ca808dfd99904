"""YAML and JSON text to plain values, exactly, with the line of every value.

YAML is read by the rules of version 1.2 (its core schema), where PyYAML's own are those of 1.1: `1e-2` is a
number, `no` and `on` are text. Numbers with a point or an exponent become `decimal.Decimal`, so that an
exponent written 0.1 stays 1/10.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import yaml

from iplab.errors import SpecError, Violation

Lines = dict[str, int]

# Far beyond any spec, and far below what exhausts the stack or, by aliases of aliases, the memory.
_MAX_DEPTH: Final = 50
_MAX_VALUES: Final = 200_000
_TOO_DEEP: Final = f"is nested more than {_MAX_DEPTH} levels deep"
# Of JSON; a bracket within a string is none.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


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
        SpecError: Malformed (line and column named), a key given twice, more than one document, nested too
            deep, or an alias that contains itself.
    """
    try:
        loader = _Loader(text, source)
        node = loader.get_single_node()
        if node is None:
            return Document(None)
        lines: Lines = {}
        problems: list[Violation] = []
        _locate(node, "", lines, problems, ())
        if problems:
            raise SpecError(problems, source)
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
        SpecError: Malformed (line and column named), a key given twice, or nested too deep.
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

    _bound_depth(text, source)
    try:
        value = json.loads(text, parse_float=Decimal, object_pairs_hook=build)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}: not JSON: {error.msg}"
        raise SpecError([Violation("", place, error.lineno)], source) from None
    if repeated:
        raise SpecError(repeated, source)
    return Document(value)


def _bound_depth(text: str, source: str) -> None:
    """Refuse JSON that is nested too deep. How deep `json` itself can go differs between Pythons."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > _MAX_DEPTH:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            raise SpecError([Violation("", f"column {column}: {_TOO_DEEP}", line)], source)


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's protocol

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self._source = source
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, which recurses for every level, but not for more than a spec may have."""
        if self._depth > _MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # so in types-PyYAML
            message = f"column {mark.column + 1}: {_TOO_DEEP}"
            raise SpecError([Violation("", message, mark.line + 1)], self._source)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


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


def _locate(
    node: yaml.Node, path: str, lines: Lines, problems: list[Violation], around: tuple[yaml.Node, ...]
) -> None:
    """Note the line of every value below `node`, and what cannot be made a spec of.

    Args:
        node: Where to begin.
        path: Of `node`.
        lines: Receives the lines.
        problems: Receives keys that are given twice, aliases that contain themselves, and excess.
        around: The nodes that contain this one, outermost first.
    """
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if node in around:
        problems.append(Violation(path, "contains itself, by an alias; write its values out", line))
        return
    if len(around) > _MAX_DEPTH or len(lines) > _MAX_VALUES:
        many = f"has more than {_MAX_VALUES:,} values, aliases counted"
        if not problems:
            problems.append(Violation("", _TOO_DEEP if len(around) > _MAX_DEPTH else many, line))
        return
    inside = (*around, node)
    if isinstance(node, yaml.SequenceNode):
        for position, entry in enumerate(node.value):
            _locate(entry, f"{path}[{position}]", lines, problems, inside)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, entry in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                problems.append(Violation(path, "has a list or mapping as a key; keys are text", line))
                continue
            below = f"{path}.{key.value}" if path else str(key.value)
            if key.value in first:
                message = f"is given more than once, first in line {first[key.value]}; keep one"
                problems.append(Violation(below, message, line))
            first.setdefault(key.value, line)
            lines.setdefault(below, line)
            _locate(entry, below, lines, problems, inside)
