"""Filters of listings: the part of AIP-160 that is comparisons joined by AND.

    state = RUNNING AND parameterization = "ip-llr" AND width >= 128

Values are bare words or numbers, or strings in double quotes (a backslash keeps the next character).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, cast

from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.store.records import AXES, Comparison, Operator
from ipserver.store.states import ExperimentState, RunState
from ipserver.store.summary import VALUES

FieldType = type[str] | type[int] | type[float] | type[StrEnum]

# "labels.*" stands for every label key.
EXPERIMENT_FIELDS: Final[Mapping[str, FieldType]] = {
    "state": ExperimentState,
    "experiment": str,
    "priority": int,
    "labels.*": str,
}
RUN_FIELDS: Final[Mapping[str, FieldType]] = {
    "state": RunState,
    "index": int,
    "parameterization": str,
    **AXES,
    "base_learning_rate": float,
    "seed": int,
    "pack": str,
    **VALUES,
}

_TOKEN = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\.)*") | (?P<op>!=|<=|>=|=|<|>) | (?P<word>[^\s"=<>!()]+) )""",
    re.VERBOSE | re.DOTALL,
)
_LABEL_KEY = re.compile(r"labels\.[a-z][a-z0-9_-]{0,62}")
_MOST_CHARACTERS = 4000
# What every store can compare: a 64-bit integer.
_INTEGER = range(-(2**63), 2**63)


def parse_filter(text: str, fields: Mapping[str, FieldType]) -> list[Comparison]:
    """Read a filter.

    Args:
        text: As in a request; blank means no condition.
        fields: Type of each field that may be compared.

    Returns:
        The terms, with values of their field's type.

    Raises:
        InvalidRequest: Not such a filter; the violation says where and why.

    >>> parse_filter('width >= 128 AND activation = "relu"', RUN_FIELDS)[0]
    Comparison(field='width', op='>=', value=128)
    """
    if len(text) > _MOST_CHARACTERS:
        raise _wrong(f"has {len(text)} characters; at most {_MOST_CHARACTERS} are allowed")
    tokens = list(_tokens(text))
    terms = []
    for start in range(0, len(tokens), 4):
        term = tokens[start : start + 3]
        if len(term) < 3 or [kind == "op" for kind, _ in term] != [False, True, False]:
            told = " ".join(value for _, value in term)
            raise _wrong(f"expected FIELD OPERATOR VALUE at {told!r}; example: width >= 128")
        (_, name), (_, operator), (kind, raw) = term
        terms.append(_comparison(name, cast(Operator, operator), raw, kind == "quoted", fields))
        rest = tokens[start + 3 : start + 5]
        if rest and rest[0] != ("word", "AND"):
            raise _wrong(f"expected AND at {rest[0][1]!r}; terms can only be joined by AND")
        if len(rest) == 1:
            raise _wrong("ends after AND; give another term or leave AND out")
    return terms


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            rest = text[position:].strip()
            hint = "a quote is not closed" if rest.startswith('"') else "it cannot be read"
            if rest.startswith(("(", ")")):
                hint = "parentheses are not supported; join comparisons by AND"
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
    elif name in fields and "*" not in name:
        kind = fields[name]
    else:
        known = [field.replace("*", "KEY") for field in fields]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? There are: " if close else "there are: "
        raise _wrong(f"unknown field {name!r}; {hint}{', '.join(known)}")
    if (kind is str or issubclass(kind, StrEnum)) and op not in {"=", "!="}:
        raise _wrong(f"{name!r} can be compared by = and != only, not by {op}")
    return Comparison(name, op, _value(name, kind, raw, quoted))


def _value(name: str, kind: FieldType, raw: str, quoted: bool) -> str | int | float:
    if kind is str:
        return raw
    if issubclass(kind, StrEnum):
        states = [member.value for member in kind]
        if raw not in states:
            close = difflib.get_close_matches(raw.upper(), states, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise _wrong(f"{name!r} has no value {raw!r}; {hint}There are: {', '.join(states)}")
        return raw
    number = None
    if not quoted:
        try:
            number = int(raw) if kind is int else float(raw)
        except ValueError:
            number = None
    if number is None or (number not in _INTEGER if kind is int else not math.isfinite(number)):
        article = "an integer" if kind is int else "a number"
        raise _wrong(f"{name!r} is compared with {article}, not with {raw[:40]!r}")
    return number


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation("filter", message)])
