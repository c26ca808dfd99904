"""Rules for the values of a configuration, as plain data at the field that they belong to.

A dataclass declares type, rules, meaning and default of a field in one place:

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Example:
...     beta: Annotated[float, Interval(0, 1, "[)"), "decay of a mean"] = 0.9
>>> settings(Example)["beta"].problem(1.0)
'must be at least 0 and less than 1, not 1.0'
>>> print(settings(Example)["beta"])
beta: decay of a mean; at least 0 and less than 1; default 0.9

The trainer (`ipcore.training.validation`) and the service check against these rules; the service takes its
defaults from the same fields.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from ipcore.catalogue.formats import SINGLE, Range, fits
from ipcore.errors import unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Rule(Protocol):
    """A restriction on a value."""

    @property
    def allowed(self) -> str:
        """The allowed values in words, to follow "may be"."""
        ...

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """Why a value of the field's type breaks the rule, in a number format; "" if it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two ends.

    Attributes:
        least: Lower end.
        most: Upper end; may be infinite.
        ends: Whether each end belongs to it: "[]", "[)", "(]" or "()". An infinite end never does.
    """

    least: float
    most: float = math.inf
    ends: Literal["[]", "[)", "(]", "()"] = "[]"

    @property
    def allowed(self) -> str:
        """As "at least 0 and less than 1", "between 0 and 1", "in 0 .. 1"."""
        if self.most == math.inf:
            return f"at least {self.least:,}" if self.ends[0] == "[" else f"more than {self.least:,}"
        if self.ends == "[]":
            return f"in {self.least:,} .. {self.most:,}"
        if self.ends == "()":
            return f"between {self.least:,} and {self.most:,}"
        low = "at least" if self.ends[0] == "[" else "more than"
        high = "at most" if self.ends[1] == "]" else "less than"
        return f"{low} {self.least:,} and {high} {self.most:,}"

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """As `Rule.problem`; NaN is outside."""
        above = self.least <= value if self.ends[0] == "[" else self.least < value
        below = value <= self.most if self.ends[1] == "]" else value < self.most
        if above and below and value < math.inf:
            return ""
        if value == self.most == math.inf:
            return f"must be finite and {self.allowed}, not {value}"
        verb = "lie" if self.most < math.inf and self.ends in ("[]", "()") else "be"
        return f"must {verb} {self.allowed}, not {value}"


@dataclass(frozen=True, slots=True)
class Held:
    """Positive numbers that training can hold in full precision (`ipcore.catalogue.formats`).

    Attributes:
        or_zero: 0 is allowed, too.
    """

    or_zero: bool = False

    @property
    def allowed(self) -> str:
        """With the range of single precision."""
        return f"{'0 or ' if self.or_zero else ''}{SINGLE}"

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """As `Rule.problem`, with the range of the format."""
        if fits(value, held) or (self.or_zero and value == 0):
            return ""
        what = "0 or a number" if self.or_zero else "a finite number above 0"
        return f"must be {what} that training can hold ({held}), not {value}"


@dataclass(frozen=True, slots=True)
class AtMostInSingle:
    """A bound where numbers are single precision.

    Attributes:
        most: The bound.
        reason: Why, for people.
    """

    most: float
    reason: str

    @property
    def allowed(self) -> str:
        """The bound."""
        return f"at most {self.most} in single precision"

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """As `Rule.problem`."""
        if held != SINGLE or value <= self.most:
            return ""
        return f"must be at most {self.most}, not {value}: {self.reason}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several names.

    Attributes:
        kind: What they are, in the singular.
        names: The names, in the order in which they are listed; of a table its keys.
    """

    kind: str
    names: Mapping[str, object] = dataclasses.field(hash=False)

    @property
    def allowed(self) -> str:
        """The names."""
        return ", ".join(self.names)

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """As `Rule.problem`, with the nearest name."""
        return "" if value in self.names else unknown(self.kind, value, self.names)


_KINDS: Final[Mapping[type, tuple[type, str]]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a real number"),
    str: (str, "text"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a configuration: its meaning, its allowed values and its default.

    Attributes:
        name: Name of the field.
        kind: int, float or str; of a list, the type of its entries.
        repeated: It is a list.
        rules: All of them must hold.
        meaning: For people; may be empty.
        default: None: it must be given.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    repeated: bool
    rules: tuple[Rule, ...]
    meaning: str
    default: object

    def type_problem(self, value: object) -> str:
        """Why a value (of a list: an entry) has the wrong type; "" if it has the right one."""
        kind, word = _KINDS[self.kind]
        if isinstance(value, kind) and not isinstance(value, bool):
            return ""
        return f"must be {word}, not {value!r}"

    def problem(self, value: Any, held: Range = SINGLE) -> str:
        """Why a value (of a list: an entry) of the right type is not allowed; "" if it is."""
        return next((text for rule in self.rules if (text := rule.problem(value, held))), "")

    @property
    def choice(self) -> OneOf | None:
        """The rule that lists its names, if it has one."""
        return next((rule for rule in self.rules if isinstance(rule, OneOf)), None)

    @property
    def allowed(self) -> str:
        """Description of the allowed values."""
        return ", ".join(rule.allowed for rule in self.rules)

    def __str__(self) -> str:
        default = "" if self.default is None else f"default {self.default}"
        return f"{self.name}: " + "; ".join(filter(None, [self.meaning, self.allowed, default]))


@cache
def settings(owner: Any) -> Mapping[str, Setting]:
    """The fields of a dataclass that are numbers, text or lists of them, by name.

    Rules and meaning are metadata of `Annotated`, as in this module's example.
    """
    hints = get_type_hints(owner, include_extras=True)
    found = {}
    for field in dataclasses.fields(owner):
        hint: Any = hints[field.name]
        metadata: list[Any] = []
        if get_origin(hint) is Annotated:
            hint, *metadata = get_args(hint)
        repeated = get_origin(hint) is tuple
        kind = get_args(hint)[0] if repeated else hint
        if kind not in _KINDS:
            continue
        rules = tuple(entry for entry in metadata if not isinstance(entry, str))
        meaning = next((entry for entry in metadata if isinstance(entry, str)), "")
        default = None if field.default is dataclasses.MISSING else field.default
        found[field.name] = Setting(field.name, kind, repeated, rules, meaning, default)
    return found


def type_problems(value: object) -> Iterator[tuple[str, str]]:
    """(field, message) for every setting of a dataclass, not of its parts, that has another type."""
    owner: Any = type(value)
    for setting in settings(owner).values():
        given = getattr(value, setting.name)
        if setting.repeated and not isinstance(given, tuple | list):
            yield setting.name, f"must be a list, not {given!r}"
            continue
        for place, entry in _entries(setting, given):
            if text := setting.type_problem(entry):
                yield place, text


def value_problems(
    value: object, held: Range = SINGLE, only: Collection[str] | None = None
) -> Iterator[tuple[str, str]]:
    """(field, message) for every setting of a dataclass that breaks a rule.

    Args:
        value: Its settings have the right types.
        held: Number format that trains.
        only: Settings to look at; None: all.
    """
    owner: Any = type(value)
    for setting in settings(owner).values():
        if only is None or setting.name in only:
            for place, entry in _entries(setting, getattr(value, setting.name)):
                if text := setting.problem(entry, held):
                    yield place, text


def plain(value: T) -> T:
    """A dataclass of settings, its parts included, with Python's own numbers.

    NumPy's numbers have the right types, too, but their products may overflow, and they cannot be written as
    JSON.

    Args:
        value: Its settings have the right types.

    >>> import numpy
    >>> plain(Interval(numpy.int64(2), numpy.float32(0.5)))
    Interval(least=2.0, most=0.5, ends='[]')
    """
    changed: dict[str, Any] = {}
    found = settings(type(value))
    for entry in dataclasses.fields(value):
        given = getattr(value, entry.name)
        if (setting := found.get(entry.name)) is not None:
            kind: Any = setting.kind
            changed[entry.name] = tuple(map(kind, given)) if setting.repeated else kind(given)
        elif dataclasses.is_dataclass(given) and not isinstance(given, type):
            changed[entry.name] = plain(given)
    return dataclasses.replace(value, **changed) if changed else value  # a part without settings


def _entries(setting: Setting, value: Any) -> Iterator[tuple[str, Any]]:
    if not setting.repeated:
        yield setting.name, value
        return
    for i, entry in enumerate(value):
        yield f"{setting.name}[{i}]", entry
