"""Specs from YAML, JSON, a dict or a message to a typed `Experiment`.

A spec is the JSON form of `iplab.v1.Experiment`: display_name, labels, priority and spec. What is checked
here is its form (names and types, all problems at once); what the values may be, the service checks. What
does not fit its field is left out of the message, so that the service can check the rest all the same.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Number, Rational, Real
from pathlib import Path
from typing import Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from iplab.errors import SpecError, Violation
from iplab.v1.experiment_pb2 import Experiment
from iplab.v1.spec_pb2 import Exponents
from iplab.yamltext import Document, Lines, parse_json, parse_yaml

SpecSource = str | os.PathLike[str] | Mapping[str, object] | Experiment

_ROOT: Final = Experiment.DESCRIPTOR
_INPUT: Final = ("display_name", "labels", "priority", "spec")
_INTEGERS: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
# Of these infinity is a value, in a field of its own.
_WIDTHS: Final = "iplab.v1.Grid.widths"
_REALS: Final = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}
# Bounded, however deep or long a wrong value is.
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
# Wrong fields that are named, and how many of them with a suggestion.
_MAX_PROBLEMS: Final = 50
_SUGGESTIONS: Final = 20
# Files of a folder that are compared with one that is not there.
_FILES: Final = 1000
# Numbers of more digits are nobody's intention; writing them out would fill the memory.
_MAX_DIGITS: Final = 400


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and where it came from, so that the service's objections can be shown in place.

    Attributes:
        message: The typed form, without the values that do not fit their fields.
        source: The file's name; "" if it was no file.
        lines: Line of each value by its path; empty if unknown.
        violations: What does not fit; with any, the message must not be submitted.
        gaps: Paths in the message at which something is missing for that reason.
    """

    message: Experiment
    source: str = ""
    lines: Lines = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    gaps: frozenset[str] = frozenset()

    def checked(self) -> Experiment:
        """The message. Raises SpecError if there are violations."""
        if self.violations:
            raise self.error()
        return self.message

    def error(self, violations: Sequence[Violation] = ()) -> SpecError:
        """Its own violations and the service's, in the order of the file.

        Args:
            violations: The service's (paths from the request: "experiment.spec..."), of this message. Those
                that the gaps have caused are left out.
        """
        theirs = [(v.field.removeprefix("experiment."), v.message) for v in violations]
        added = [
            Violation(path, text, _line(path, self.lines))
            for path, text in theirs
            if not any(_caused(path, gap) for gap in self.gaps)
        ]
        return SpecError(sorted((*self.violations, *added), key=lambda one: one.line), self.source)


def load_spec(source: SpecSource) -> Experiment:
    """A typed experiment from a file, a dict or a message.

    Args:
        source: Path of a YAML file (or JSON, if its name ends in .json), a dict of the same form, or an
            `iplab.v1.experiment_pb2.Experiment` (copied).

    Raises:
        SpecError: Unreadable or malformed file, unknown fields (nearest name given), values of a wrong type;
            all at once.

    >>> spec = load_spec({"spec": {"dataset": "digits", "grid": {"widths": [64, 128]}}})
    >>> list(spec.spec.grid.widths)
    [64, 128]
    >>> load_spec({"spec": {"grid": {"widths": [64, "inf"]}}}).spec.grid.infinite_width
    True
    """
    return read_spec(source).checked()


def read_spec(source: SpecSource) -> LoadedSpec:
    """As `load_spec`, with the lines of the values; those of a wrong type are in `violations`."""
    if isinstance(source, Experiment):
        copy = Experiment()
        copy.CopyFrom(source)
        return LoadedSpec(copy)
    if isinstance(source, Mapping):
        return _typed(Document(source), "")
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)) + _nearest_file(path)
        raise SpecError([Violation("", f"cannot read the spec: {reason}")], str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError([Violation("", f"not UTF-8 text: {error}")], str(path)) from error
    return parse_spec(text, str(path))


def _nearest_file(path: Path) -> str:
    """What to add about a file that is not there: the nearest name in its folder."""
    try:
        names = [] if path.exists() else [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names[:_FILES], n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""


def parse_spec(text: str, source: str) -> LoadedSpec:
    """As `read_spec`, from the text of a file named `source`."""
    parse = parse_json if source.endswith(".json") else parse_yaml
    return _typed(parse(text, source), source)


def _typed(document: Document, source: str) -> LoadedSpec:
    problems = _Problems()
    plain = _message(document.value, _ROOT, "", problems)
    message = json_format.ParseDict(plain, Experiment())
    violations = [Violation(path, text, _line(path, document.lines)) for path, text in problems.found]
    if problems.unnamed:
        violations.append(Violation("", f"{problems.unnamed:,} more fields are wrong"))
    return LoadedSpec(message, source, document.lines, tuple(violations), frozenset(problems.gaps))


def _caused(path: str, gap: str) -> bool:
    """Whether the service may object at `path` only because something is missing at `gap`.

    Entries of lists are replaced, not left out, so what is around them is as the user wrote it; anything else
    that is missing shows around it too ("is required").
    """
    return _within(path, gap) or (not gap.endswith("]") and _within(gap, path))


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _line(path: str, lines: Lines) -> int:
    """Line of the value, or of the nearest value around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0) if path else 0


class _Problems:
    """What is wrong, and where the message lacks something because of it."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.gaps: set[str] = set()
        self.unnamed = 0

    @property
    def many(self) -> bool:
        """Whether there are so many that suggestions for further ones help nobody."""
        return len(self.found) > _SUGGESTIONS

    def add(self, path: str, message: str, gap: str | None = None) -> None:
        """One wrong field; `gap` is what was meant, if that has another path."""
        if len(self.found) < _MAX_PROBLEMS:
            self.found.append((path, message))
        else:
            self.unnamed += 1
            return
        # The service knows fields by one of their two names.
        self.gaps.add(re.sub("(?<=[a-z])[A-Z]", lambda m: f"_{m[0].lower()}", path if gap is None else gap))


def _message(value: object, kind: Descriptor, path: str, problems: _Problems) -> dict[str, object]:
    if not isinstance(value, Mapping):
        shown = "an empty document" if value is None else _shown(value)
        problems.add(path, f"{shown} is not a mapping; it may have {', '.join(_names(kind))}")
        return {}
    plain: dict[str, object] = {}
    for key, given in value.items():
        below = f"{path}.{key}" if path else str(key)
        target = kind.fields_by_name.get(str(key)) or kind.fields_by_camelcase_name.get(str(key))
        widths = target is not None and target.full_name == _WIDTHS
        entry = _finite(given, below, plain, problems) if widths else given
        if target is None or target.name not in _names(kind):
            name = str(key)
            message, meant = (
                ("unknown field", f"{path}.{name}") if problems.many else _unknown(name, kind, path)
            )
            nearest = meant.rpartition(".")[2]
            # What was meant may be there as well.
            problems.add(below, message, below if nearest != key and nearest in value else meant)
        elif target.name in plain:
            problems.add(below, f"is {target.name}, given twice; keep one")
        elif (plain_entry := _field(entry, target, below, problems)) is not None:
            plain[target.name] = plain_entry
    for group in kind.oneofs:
        given = [member.name for member in group.fields if member.name in plain]
        if len(given) > 1:
            problems.add(path, f"has {' and '.join(given)}; keep one of them")
            for extra in given[1:]:
                del plain[extra]
    return plain


def _finite(widths: object, path: str, plain: dict[str, object], problems: _Problems) -> object:
    """The finite widths of a list; infinity among them is the field `infinite_width`."""
    if isinstance(widths, str | bytes | Mapping) or not hasattr(widths, "__iter__"):
        return widths
    entries = list(widths)
    infinite = [i for i, entry in enumerate(entries) if _is_infinite(entry)]
    if infinite:
        plain["infinite_width"] = True
    if infinite and infinite[0] != len(entries) - 1:
        problems.add(f"{path}[{infinite[0]}]", "inf is the last width, and is there once; move it to the end")
    return [entry for entry in entries if not _is_infinite(entry)]


def _is_infinite(width: object) -> bool:
    number = _number(width)
    return number is not None and str(number).lower() in ("inf", "infinity")


def _names(kind: Descriptor) -> Sequence[str]:
    """Names that a spec may use; the rest of Experiment is set by the service."""
    return _INPUT if kind is _ROOT else [entry.name for entry in kind.fields]


def _unknown(name: str, kind: Descriptor, path: str) -> tuple[str, str]:
    """What is wrong with a field of this name at `path`, and the path that was meant."""
    if kind is _ROOT and name in kind.fields_by_name:
        return "is set by the service; leave it out", name
    known = _names(kind)
    if nearest := get_close_matches(name, known, n=1):
        meant = f"{path}.{nearest[0]}" if path else nearest[0]
        return f"unknown field; did you mean {nearest[0]}?", meant
    if place := _place_of(name, _ROOT, ""):
        return f"unknown field here; it belongs at {place}", place
    return f"unknown field; here may stand {', '.join(known)}", f"{path}.{name}"


def _place_of(name: str, kind: Descriptor, path: str) -> str:
    """Path of the field `name` somewhere below `kind`, or ""."""
    for known in _names(kind):
        entry = kind.fields_by_name[known]
        below = f"{path}.{known}" if path else known
        if known == name:
            return below
        nested = entry.message_type
        if nested and not nested.GetOptions().map_entry:
            bracket = "[]" if entry.is_repeated else ""
            if found := _place_of(name, nested, below + bracket):
                return found
    return ""


def _field(value: object, target: FieldDescriptor, path: str, problems: _Problems) -> object:
    if target.message_type and target.message_type.GetOptions().map_entry:
        return _map(value, target.message_type, path, problems)
    if target.is_repeated:
        if value is None:
            return None
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            problems.add(path, f"{_shown(value)} is not a list; write [{_shown(value)}] for a single value")
            return None
        singles = (_single(entry, target, f"{path}[{i}]", problems) for i, entry in enumerate(value))
        return [_stand_in(target) if single is None else single for single in singles]
    if value is None:
        if target.message_type:
            problems.add(path, "is empty; write {} for its defaults, or leave it out")
        return None
    return _single(value, target, path, problems)


def _stand_in(target: FieldDescriptor) -> object:
    """For a wrong entry of a list, so that the others keep their positions: a value that none of them has."""
    if target.type in _INTEGERS:
        least, most = _INTEGERS[target.type]
        return least or most
    if target.type == FieldDescriptor.TYPE_BOOL:
        return False
    return "NaN" if target.type in _REALS else ""


def _map(value: object, kind: Descriptor, path: str, problems: _Problems) -> dict[str, object] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        problems.add(path, f"{_shown(value)} is not a mapping of names to values")
        return None
    for key in value:
        if not _is_text(key):
            problems.add(path, f"the key {_shown(key)} is not text; quote it")
    target = kind.fields_by_name["value"]
    singles = {
        str(key): _single(entry, target, f"{path}.{key}", problems)
        for key, entry in value.items()
        if _is_text(key)
    }
    return {key: single for key, single in singles.items() if single is not None}


def _single(value: object, target: FieldDescriptor, path: str, problems: _Problems) -> object:
    """One value of the field's type as protobuf's JSON reader takes it; None after a problem."""
    if target.message_type:
        return _message(value, target.message_type, path, problems)
    if target.type in _INTEGERS:
        return _whole(value, target, path, problems)
    if target.type in _REALS:
        return _real(value, path, problems)
    if target.type == FieldDescriptor.TYPE_BOOL:
        return _truth(value, path, problems)
    return _text(value, target, path, problems)


def _whole(value: object, target: FieldDescriptor, path: str, problems: _Problems) -> int | None:
    least, most = _INTEGERS[target.type]
    number = _number(value)
    finite = number is not None and Decimal(number).is_finite()  # as a float it might be infinite
    if number is not None and finite and not -(2**64) <= number <= 2**64:
        whole = 2**65 if number > 0 else -(2**65)  # its digits need not be written out
    elif number is None or number != (whole := int(number) if finite else 0):
        problems.add(path, f"{_shown(value)} is not a whole number")
        return None
    if least <= whole <= most:
        return whole
    if least < 0:
        # Not a rule that is worth stating: what the service allows is far less.
        problems.add(path, f"{_shown(value)} is too {'large' if whole > 0 else 'small'} for this field")
    else:
        problems.add(path, f"{_shown(value)} is out of range; it must lie between {least} and {most}")
    return None


def _real(value: object, path: str, problems: _Problems) -> float | str | None:
    number = _number(value)
    if number is None:
        problems.add(path, f"{_shown(value)} is not a number")
        return None
    # JSON has no such numbers; these are protobuf's words for them.
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return words.get(str(float(number)), float(number))


def _truth(value: object, path: str, problems: _Problems) -> bool | None:
    if isinstance(value, bool):
        return value
    problems.add(path, f"{_shown(value)} is neither true nor false")
    return None


def _text(value: object, target: FieldDescriptor, path: str, problems: _Problems) -> object:
    if _is_text(value):
        return value
    if target.containing_type is not Exponents.DESCRIPTOR:
        problems.add(path, f"{_shown(value)} is not text; quote it")
    elif (exact := _exponent(value)) is not None:
        return exact
    else:
        problems.add(path, f"{_shown(value)} is not an exponent; write 1, -5/2 or 0.5")
    return None


def _is_text(value: object) -> bool:
    """Python's text may hold half characters (lone surrogates), which have no UTF-8."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _number(value: object) -> Decimal | float | None:
    """The number that `value` is or spells, as protobuf's JSON form allows; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return Decimal(value)
        except ArithmeticError:
            return None
    if isinstance(value, Integral):
        whole = int(value)
        if whole.bit_length() > 4 * _MAX_DIGITS:  # as large, without writing all digits out
            whole = 10**_MAX_DIGITS if whole > 0 else -(10**_MAX_DIGITS)
        return Decimal(whole)
    return value if isinstance(value, Decimal) else float(value) if isinstance(value, Real) else None


def _exponent(value: object) -> str | None:
    """An exponent given as a number, exactly: 1 -> "1", 0.5 -> "0.5", Fraction(-5, 2) -> "-5/2"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Rational):
        top, bottom = int(value.numerator), int(value.denominator)
        if max(top.bit_length(), bottom.bit_length()) > 4 * _MAX_DIGITS:
            return None
        return str(Fraction(top, bottom))
    if isinstance(value, Real):
        value = Decimal(repr(float(value)))  # the shortest decimal that is this float: 0.1, not 0.1000...0555
    if not isinstance(value, Decimal) or (value.is_finite() and abs(value.adjusted()) > _MAX_DIGITS):
        return None
    return format(value, "f")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral) and int(value).bit_length() > 4 * _MAX_DIGITS:
        return "a number of more than 400 digits"
    text = "null" if value is None else str(value) if isinstance(value, Number) else _REPR.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
