"""YAML and JSON text to plain values, exactly, with the line of every value.

YAML is read by the rules of version 1.2 (its core schema), not by PyYAML's, which are those of 1.1: `1e-2` is
a number, `no` and `on` are text. Numbers with a point or an exponent become `decimal.Decimal`, so that an
exponent written 0.1 is exactly 1/10. Values are built from PyYAML's events in one pass without recursion, so
that time and memory are bounded for documents of any depth and length and with any number of aliases.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NoReturn

import yaml

from iplab.errors import SpecError, Violation
from iplab.specs.scalars import COLLECTIONS, _whole, plain, tagged, unknown_tag

Lines = dict[str, int]

# Far beyond any spec.
MAX_CHARACTERS: Final = 8_000_000
_MAX_DEPTH: Final = 50
_MAX_VALUES: Final = 200_000
_TOO_DEEP: Final = f"is nested more than {_MAX_DEPTH} levels deep"
_TOO_MANY: Final = f"has more than {_MAX_VALUES:,} values, aliases counted"
# Brackets of JSON, and whole strings, whose brackets are not counted.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values and their lines.

    Attributes:
        value: dict, list, str, int, Decimal, bool or None.
        lines: Line, from 1, of every value by its path ("spec.grid.widths[1]"); for the values of an alias,
            only the line of the alias.
    """

    value: object
    lines: Lines = field(default_factory=dict)


def parse_yaml(text: str, source: str) -> Document:
    """Read one YAML document.

    Args:
        text: The document.
        source: Its name, for errors.

    Raises:
        SpecError: Malformed (line and column named), a key given twice, a tag that specs do not use, more
            than one document, too long or nested too deep, or an alias that contains itself.
    """
    _bound_length(text, source)
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"column {mark.column + 1}: " if mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise SpecError(
            [Violation("", f"{place}not YAML: {said}", mark.line + 1 if mark else 0)], source
        ) from None
    except UnicodeEncodeError as error:  # half of a character
        raise SpecError([Violation("", f"not UTF-8 text: {error}")], source) from None
    except yaml.YAMLError as error:  # a character that YAML does not permit
        raise SpecError([Violation("", f"not YAML: {' '.join(str(error).split())}")], source) from None
    if builder.problems:
        raise SpecError(builder.problems, source)
    return Document(builder.value, builder.lines)


def parse_json(text: str, source: str) -> Document:
    """Read one JSON document.

    Raises:
        SpecError: Malformed (line and column named), a key given twice, too long or nested too deep.
    """
    _bound_length(text, source)
    repeated: list[Violation] = []

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        built = dict(pairs)
        if len(built) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = [key for key, count in counts.items() if count > 1]
            repeated.extend(Violation(key, "is given more than once; keep one") for key in twice)
        return built

    _bound_depth(text, source)
    try:
        value = json.loads(text, parse_float=Decimal, parse_int=_whole, object_pairs_hook=build)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}: not JSON: {error.msg}"
        raise SpecError([Violation("", place, error.lineno)], source) from None
    except ArithmeticError:  # an exponent of 19 digits
        raise SpecError(
            [Violation("", "holds a number with an exponent that is far too large")], source
        ) from None
    if repeated:
        raise SpecError(repeated, source)
    return Document(value)


def _bound_length(text: str, source: str) -> None:
    if len(text) > MAX_CHARACTERS:
        message = f"has {len(text):,} characters; a spec has at most {MAX_CHARACTERS:,}"
        raise SpecError([Violation("", message)], source)


def _bound_depth(text: str, source: str) -> None:
    """Refuse JSON that is nested too deep. The limit of `json` itself differs between versions of Python."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > _MAX_DEPTH:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            raise SpecError([Violation("", f"column {column}: {_TOO_DEEP}", line)], source)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read.

    Attributes:
        value: Its entries so far.
        path: Its path.
        line: Line at which it begins.
        anchor: Its name for aliases, or None.
        depth: Number of levels so far, its own included.
        size: Number of values so far, itself included.
        key: For a mapping: the key whose value comes next; None if a key comes next.
        key_lines: For a mapping: line of the first occurrence of each key.
    """

    value: list[object] | dict[str, object]
    path: str
    line: int
    anchor: str | None
    depth: int = 1
    size: int = 1
    key: str | None = None
    key_lines: Lines = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: object
    size: int
    depth: int


class _Builder:
    """Values from events. Reading continues after most problems, so that all are named."""

    def __init__(self, source: str) -> None:
        self.value: object = None
        self.lines: Lines = {}
        self.problems: list[Violation] = []
        self._source = source
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None: its value is still open
        self._count = self._documents = 0
        self._skipping = 0

    def take(self, event: yaml.Event) -> None:
        """Process the next event."""
        line, _ = _place(event)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    _, column = _place(event)
                    self._stop(f"column {column}: not YAML: a second document; a spec is one", line)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event, line)
            case yaml.ScalarEvent():
                self._scalar(event, line)

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        if self._skipping:
            self._skipping += 1
            return
        around = self._open[-1] if self._open else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            self._problem(around.path, "has a list or mapping as a key; keys are text", line)
            self._skipping = 1
            return
        if len(self._open) > _MAX_DEPTH:
            self._stop(f"column {_place(event)[1]}: {_TOO_DEEP}", line)
        path = self._path()
        if event.tag is not None and event.tag not in COLLECTIONS[type(event)]:
            self._problem(path, unknown_tag(event.tag), line)
        self._note(path, line)
        if event.anchor:
            self._anchors[event.anchor] = None
        value: list[object] | dict[str, object] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._open.append(_Open(value, path, line, event.anchor))

    def _end(self) -> None:
        if self._skipping:
            self._skipping -= 1
            if not self._skipping:
                self._open[-1].key = ""  # the refused key's value is read and dropped
            return
        done = self._open.pop()
        if done.anchor:
            self._anchors[done.anchor] = _Anchored(done.value, done.size, done.depth)
        self._put(done.value, done.size, done.depth)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        if self._skipping:
            return
        name = event.anchor
        if name not in self._anchors:
            self._stop(f"column {_place(event)[1]}: not YAML: there is no anchor &{name}", line)
        meant = self._anchors[name]
        around = self._open[-1] if self._open else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            self._key(meant.value if meant else None, line)
            return
        path = self._path()
        if meant is None:
            self._problem(path, "contains itself, by an alias; write its values out", line)
            self._put(None, 1, 0)
            return
        if len(self._open) + meant.depth > _MAX_DEPTH + 1:
            self._stop(f"column {_place(event)[1]}: {_TOO_DEEP}", line)
        self._note(path, line, meant.size)
        self._put(meant.value, meant.size, meant.depth)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._skipping:
            return
        around = self._open[-1] if self._open else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            if event.anchor:
                self._anchors[event.anchor] = _Anchored(event.value, 1, 0)
            self._key(event.value, line)
            return
        path = self._path()
        self._note(path, line)
        value: object = event.value
        try:
            if event.tag not in (None, "!"):
                value = tagged(event.tag, event.value)
            elif event.implicit[0]:
                value = plain(event.value)
        except ValueError as error:
            self._problem(path, str(error), line)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._put(value, 1, 0)

    def _key(self, key: object, line: int) -> None:
        around = self._open[-1]
        if not isinstance(key, str):
            self._problem(around.path, "has a key that is not text", line)
            key = ""
        below = f"{around.path}.{key}" if around.path else key
        first = around.key_lines.setdefault(key, line)
        if key in around.value:
            self._problem(below, f"is given more than once, first in line {first}; keep one", line)
        around.key = key
        self.lines.setdefault(below, line)

    def _path(self) -> str:
        """Path of the next value."""
        if not self._open:
            return ""
        around = self._open[-1]
        if isinstance(around.value, list):
            return f"{around.path}[{len(around.value)}]"
        return f"{around.path}.{around.key}" if around.path else str(around.key)

    def _put(self, value: object, size: int, depth: int) -> None:
        if not self._open:
            self.value = value
            return
        around = self._open[-1]
        around.size += size
        around.depth = max(around.depth, depth + 1)
        if isinstance(around.value, list):
            around.value.append(value)
        else:
            around.value[str(around.key)] = value
            around.key = None

    def _note(self, path: str, line: int, size: int = 1) -> None:
        """Record a value's line, and count `size` more values."""
        self.lines.setdefault(path, line)
        self._count += size
        if self._count > _MAX_VALUES:
            self._stop(_TOO_MANY, line)

    def _problem(self, path: str, message: str, line: int) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Violation(path, message, line))

    def _stop(self, message: str, line: int) -> NoReturn:
        raise SpecError([*self.problems, Violation("", message, line)], self._source)


_MAX_PROBLEMS: Final = 50


def _place(event: yaml.Event) -> tuple[int, int]:
    """Line and column, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
