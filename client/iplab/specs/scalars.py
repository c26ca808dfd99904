"""YAML scalars as values: exact decimals, and the tags of its core schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import yaml

# Integers too long for any field become decimals, which are also exact, and fast at any length.
_DIGITS: Final = 40
_TAG: Final = "tag:yaml.org,2002:"
COLLECTIONS: Final = {
    yaml.SequenceStartEvent: ("!", f"{_TAG}seq"),
    yaml.MappingStartEvent: ("!", f"{_TAG}map"),
}
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


def plain(text: str) -> object:
    """The value of an unquoted word by the core schema."""
    for pattern, convert in _KINDS.values():
        if pattern.fullmatch(text):
            return convert(text)
    return text


def tagged(tag: str, text: str) -> object:
    """The value of a word with a tag. Raises ValueError: an unknown tag, or a word of another kind."""
    kind = tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind not in _KINDS:
        raise ValueError(unknown_tag(tag))
    pattern, convert = _KINDS[kind]
    if kind == "float" and _INT.fullmatch(text):
        return _whole(text)
    if not pattern.fullmatch(text):
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise ValueError(f"{shown!r} is not of the type that its tag !!{kind} says; leave the tag out")
    return convert(text)


def unknown_tag(tag: str) -> str:
    """The problem with an unknown tag."""
    shown = tag.replace(_TAG, "!!")[:60]
    return f"has the tag {shown}, which specs do not use; leave it out"


def _whole(text: str) -> int | Decimal:
    if text.startswith(("0x", "0o")):
        return int(text, 0) if len(text) <= _DIGITS else decimal("1e999")
    return int(text) if len(text) <= _DIGITS else decimal(text)


def decimal(text: str) -> Decimal:
    """An exact number as YAML writes it, infinities among them. Raises ValueError."""
    try:
        return Decimal(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ArithmeticError:
        raise ValueError("is a number with an exponent that is far too large") from None


# By their names in tags, in the order in which they are tried.
_KINDS: Final[dict[str, tuple[re.Pattern[str], Callable[[str], object]]]] = {
    "null": (_NULL, lambda text: None),
    "bool": (_BOOL, lambda text: text.lower() == "true"),
    "int": (_INT, _whole),
    "float": (_FLOAT, decimal),
}
