"""Filters of listings, after AIP-160: comparisons joined by AND, OR and NOT, with parentheses.

    state = RUNNING AND (parameterization = "ip-llr" OR NOT width < 128)

A field may be written like a table's heading: `base learning rate = 0.1`.
Values are bare words or numbers, or strings in double or single quotes (a backslash escapes the next
character). AND, OR, NOT and states may be written in lower case. NOT binds closer than AND, AND closer than
OR. Times are as in RFC 3339, "2026-11-27T10:00:00Z"; a date alone stands for its beginning (UTC).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import takewhile
from typing import Final, Literal, cast

from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.errors import nearest
from iplab.specs.vocabulary import field_named, meant
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.store.records.filters import ALL, Comparison, Filter, Junction, Negation, Operator
from ipserver.store.records.networks import AXES
from ipserver.store.states import ExperimentState, RunState
from ipserver.store.summary import VALUES

FieldType = type[str] | type[int] | type[float] | type[StrEnum] | type[datetime]

# "labels.*" stands for every label key.
EXPERIMENT_FIELDS: Final[Mapping[str, FieldType]] = {
    "state": ExperimentState,
    "experiment": str,
    "priority": int,
    "project": str,
    "owner": str,
    "create_time": datetime,
    "start_time": datetime,
    "end_time": datetime,
    "labels.*": str,
}
RUN_FIELDS: Final[Mapping[str, FieldType]] = {
    "state": RunState,
    "index": int,
    "parameterization": str,
    **AXES,
    "base_learning_rate": float,
    "seed": int,
    "committed_steps": int,
    "pack": str,
    "start_time": datetime,
    "end_time": datetime,
    **VALUES,
}
AUDIT_FIELDS: Final[Mapping[str, FieldType]] = {
    **dict.fromkeys(("user", "method", "resource", "project", "peer", "code"), str),
    "time": datetime,
}
_INFINITY: Final = ("inf", "infinity")
_TOKEN = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') | (?P<op>!=|<=|>=|==|=|<|>) | (?P<bracket>[()])
        | (?P<word>[^\s"'=<>!()]+) )""",
    re.VERBOSE | re.DOTALL,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?P<clock>[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|z|[+-]\d\d:\d\d))?")
_LABEL_KEY = re.compile(r"labels\.[a-z][a-z0-9_-]{0,62}")
_MOST_CHARACTERS = 4000
_MOST_DEPTH = 50
# Of these the first whose field a listing has.
_EXAMPLES: Final = ("width >= 128", "state = RUNNING", "user = alice")
_NO_COMMA = "comparisons are joined by AND, not by a comma"
# Operators of other languages, with a hint for each.
_JOINED = {"&&": "write AND", "&": "write AND", "||": "write OR", "|": "write OR"}
_HALF: Final = 0.5e-6  # of a microsecond
# Both databases compare 64-bit integers.
_INTEGER = range(-(2**63), 2**63)

Token = tuple[str, str]


def parse_filter(text: str, fields: Mapping[str, FieldType]) -> Filter:
    """Read a filter.

    Args:
        text: The filter of a request; blank means no condition.
        fields: Type of each field that may be compared.

    Returns:
        The condition, with values of their field's type; `ALL` for a blank filter.

    Raises:
        InvalidRequest: The filter is malformed; the violation says where and why.

    >>> parse_filter('width >= 128 and activation = "relu"', RUN_FIELDS).parts[0]
    Comparison(field='width', op='>=', value=128)
    """
    if len(text) > _MOST_CHARACTERS:
        raise _wrong(f"has {len(text)} characters; at most {_MOST_CHARACTERS} are allowed")
    tokens = list(_tokens(text))
    return _Reader(tokens, fields).whole() if tokens else ALL


class _Reader:
    """Recursive descent: OR of ANDs of NOTs of comparisons and parentheses."""

    def __init__(self, tokens: list[Token], fields: Mapping[str, FieldType]) -> None:
        self._tokens, self._fields = tokens, fields
        self._at = self._depth = 0

    def whole(self) -> Filter:
        found = self._any()
        if self._at < len(self._tokens):
            kind, value = self._tokens[self._at]
            if (kind, value) == ("bracket", ")"):
                raise _wrong("has a ) without a (")
            hint = _JOINED.get(value, "a value with spaces needs quotes")
            if self._tokens[self._at - 1][1].endswith(","):
                hint = _NO_COMMA
            raise _wrong(f"expected AND or OR at {value!r}; {hint}")
        return found

    def _any(self) -> Filter:
        return self._joined("OR", lambda: self._joined("AND", self._single))

    def _joined(self, word: Literal["AND", "OR"], read: Callable[[], Filter]) -> Filter:
        parts = [read()]
        while self._takes(word):
            if self._at == len(self._tokens):
                raise _wrong(f"ends after {word}; give another term or leave {word} out")
            parts.append(read())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _single(self) -> Filter:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _wrong(f"is nested more than {_MOST_DEPTH} levels deep")
        try:
            if self._takes("NOT"):
                return Negation(self._single())
            if self._tokens[self._at : self._at + 1] == [("bracket", "(")]:
                self._at += 1
                inner = self._any()
                if self._tokens[self._at : self._at + 1] != [("bracket", ")")]:
                    raise _wrong("has a ( without a )")
                self._at += 1
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _takes(self, word: str) -> bool:
        """Consume the next token if it is this word, in any case. Returns whether it was."""
        if self._at < len(self._tokens):
            kind, value = self._tokens[self._at]
            # A word that an operator follows is the name of a field.
            following = self._tokens[self._at + 1 : self._at + 2]
            if kind == "word" and value.upper() == word and [k for k, _ in following] != ["op"]:
                self._at += 1
                return True
        return False

    def _comparison(self) -> Comparison:
        rest = self._tokens[self._at :]
        words = len(list(takewhile(lambda token: token[0] == "word", rest)))  # table headings have spaces
        name = " ".join(value for _, value in rest[:words])
        term = rest[words : words + 2]
        if not words or [kind for kind, _ in term] not in (["op", "word"], ["op", "quoted"]):
            told = " ".join(value for _, value in rest[: max(3, words + 1)])
            hint = f"example: {next(e for e in _EXAMPLES if e.partition(' ')[0] in self._fields)}"
            if words > 1 and rest[1][1].upper() == "IN":
                field = rest[0][1][:40]
                hint = f"for one of several values write ({field} = A OR {field} = B)"
            raise _wrong(f"expected FIELD OPERATOR VALUE at {told[:80]!r}; {hint}")
        self._at += words + 2
        (_, op), (kind, raw) = term
        return _comparison(name, cast(Operator, op.replace("==", "=")), raw, kind == "quoted", self._fields)


def _tokens(text: str) -> Iterator[Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            rest = text[position:].strip()
            hint = "a quote is not closed" if rest.startswith(('"', "'")) else "it cannot be read"
            raise _wrong(f"at {rest[:40]!r}: {hint}")
        position = found.end()
        kind = str(found.lastgroup)
        value = found[kind]
        yield kind, re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if kind == "quoted" else value


def _comparison(
    name: str, op: Operator, raw: str, quoted: bool, fields: Mapping[str, FieldType]
) -> Comparison:
    if name.startswith("labels.") and "labels.*" in fields:
        if not _LABEL_KEY.fullmatch(name):
            raise _wrong(f"{name!r} does not name a label; write labels.KEY")
        kind: FieldType = str
    elif (field := field_named(name, fields)) is not None and "*" not in field:
        name, kind = field, fields[field]
    else:
        known = [field.replace("*", "KEY") for field in fields]
        label = f"labels.{name}"
        near = meant(name, known)
        if not near and "labels.*" in fields and _LABEL_KEY.fullmatch(label):
            near = label
        hint = f"did you mean {near!r}? There are: " if near else "there are: "
        raise _wrong(f"unknown field {name!r}; {hint}{', '.join(known)}")
    if (kind is str or issubclass(kind, StrEnum)) and op not in {"=", "!="}:
        raise _wrong(f"{name!r} can be compared by = and != only, not by {op}")
    value = _value(name, kind, raw, quoted)
    if kind is datetime:
        if op in {"=", "!="}:
            raise _wrong(f"{name!r} can be compared by <, <=, > and >= only, not by {op}")
        # Times are shown to the microsecond, so times that are shown alike must compare as equal.
        value = float(value) + (-_HALF if op in {"<", ">="} else _HALF)
    return Comparison(name, op, value)


def _value(name: str, kind: FieldType, raw: str, quoted: bool) -> str | int | float:
    if kind is str:
        return raw
    if kind is datetime:
        return _time(name, raw)
    if issubclass(kind, StrEnum):
        states = [member.value for member in kind]
        if raw.upper() not in states:
            close = nearest(raw.upper(), states)
            hint = f"did you mean {close}? There are: " if close else "there are: "
            raise _wrong(f"{name!r} has no value {raw!r}; {hint}{', '.join(states)}")
        return raw.upper()
    number = None
    if name == "index" and re.fullmatch(r"r[0-9]{5,}", raw):  # a run's id
        raw = raw[1:]
    if name == "width" and raw.lower() in _INFINITY:
        return INFINITE_WIDTH
    if not quoted:
        try:
            number = int(raw) if kind is int else float(raw)
        except ValueError:
            number = None
    if number is None or (number not in _INTEGER if kind is int else not math.isfinite(number)):
        article = "an integer" if kind is int else "a number"
        hint = f"; {_NO_COMMA}" if raw.endswith(",") else ""
        raise _wrong(f"{name!r} is compared with {article}, not with {raw[:40]!r}{hint}")
    return number


def _time(name: str, raw: str) -> float:
    """Parse a time to seconds since 1970-01-01 UTC."""
    if found := _TIME.fullmatch(raw):
        try:
            moment = datetime.fromisoformat(raw.upper())
        except ValueError:  # such as 30 February
            found = None
        else:
            return (moment if found["clock"] else moment.replace(tzinfo=UTC)).timestamp()
    raise _wrong(
        f"{name!r} is compared with a time such as 2026-11-27T10:00:00Z, or a day such as 2026-11-27, not "
        f"with {raw[:40]!r}"
    )


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation("filter", message)])
