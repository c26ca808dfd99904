"""Settings: fields of a configuration whose rules are plain data at the field that they belong to.

A dataclass declares type, rules, meaning and default of a field in one place:

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Example:
...     bias: Annotated[str, OneOf("bias", {"none": 0, "first": 1}), "layers that have one"] = "none"
>>> settings(Example)["bias"].problem("frist")
"unknown bias 'frist'; did you mean 'first'? There are: none, first"
>>> print(settings(Example)["bias"])
bias: layers that have one; none, first; default none

The trainer (`ipcore.training.validation`) and the service check against these rules
(`ipcore.catalogue.rules`); the service takes its defaults from the same fields.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from ipcore.catalogue.formats import SINGLE, Range
from ipcore.catalogue.rules import OneOf, Rule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


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
    >>> from ipcore.catalogue.rules import Interval
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
