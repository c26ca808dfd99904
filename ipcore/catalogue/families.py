"""Families of synthetic datasets and the grammar of their names. Standard library only.

A name such as ``"single-index:d=64,n=4096"`` is a family and parameters; those left out have defaults. The
canonical name writes every parameter out, in the family's order: it determines every number of the dataset
(`ipcore.data` draws them).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ipcore.errors import DataError, unknown

# Numbers in all inputs of a dataset, (n + test) d: 400 MB in single precision.
LARGEST_SIZE: Final = 100_000_000
_LONGEST_NAME: Final = 300
Value = int | float | str


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number, least <= value <= most."""

    name: str
    default: int
    least: int
    most: int
    description: str

    @property
    def allowed(self) -> str:
        """The allowed values, for people."""
        return f"whole numbers {self.least} .. {self.most}"

    def parse(self, text: str) -> int | None:
        """The value of a text; None if it is malformed or out of range."""
        # isdecimal: int() would also read "1_000" and blanks.
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            return None
        return int(text) if self.least <= int(text) <= self.most else None


@dataclass(frozen=True, slots=True)
class Number:
    """A number, 0 <= value <= most."""

    name: str
    default: float
    most: float
    description: str

    @property
    def allowed(self) -> str:
        """The allowed values, for people."""
        return f"numbers 0 .. {self.most:g}"

    def parse(self, text: str) -> float | None:
        """The value of a text; None if it is malformed or out of range."""
        if len(text) > 24 or not set(text) <= set("0123456789.e+-"):
            return None
        try:
            value = float(text)
        except ValueError:
            return None
        return value + 0.0 if 0 <= value <= self.most else None  # + 0.0: "-0" is 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words."""

    name: str
    default: str
    values: tuple[str, ...]
    description: str

    @property
    def allowed(self) -> str:
        """The allowed values, for people."""
        return ", ".join(self.values)

    def parse(self, text: str) -> str | None:
        """The value of a text; None if it is malformed or out of range."""
        return text if text in self.values else None


Parameter = Integer | Number | Choice


@dataclass(frozen=True, slots=True)
class Family:
    """Datasets that differ only in parameters.

    Attributes:
        name: What stands before the colon.
        description: One line.
        parameters: In the order of the canonical name.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One dataset of a family.

    Attributes:
        family: The family.
        values: Value of every parameter, by name.
    """

    family: Family
    values: Mapping[str, Value]

    @property
    def name(self) -> str:
        """The canonical name."""
        return f"{self.family.name}:{','.join(f'{k}={_written(v)}' for k, v in self.values.items())}"

    @property
    def input_dim(self) -> int:
        """Numbers per input, d; 1 for functions of one variable."""
        return self.integer("d") if "d" in self.values else 1

    @property
    def classes(self) -> int:
        """2 for labels, 0 for real-valued targets."""
        return 2 if self.family.name == "parity" or self.values.get("labels") == "sign" else 0

    def integer(self, name: str) -> int:
        """The value of an `Integer`."""
        return int(self.values[name])

    def number(self, name: str) -> float:
        """The value of a `Number`."""
        return float(self.values[name])


FUNCTIONS: Final = ("sine", "step", "abs", "square", "cubic", "runge")
LINKS: Final = ("identity", "hermite-2", "hermite-3", "hermite-4", "relu", "abs", "tanh", "sine")

_SIZES = (
    Integer("n", 4096, 2, 10_000_000, "training examples"),
    Integer("test", 1024, 1, 10_000_000, "test examples"),
)
_DIMENSION = Integer("d", 64, 1, 100_000, "numbers per input")
_NOISE = Number("noise", 0.0, 1000.0, "standard deviation of what is added to training targets")
_SEED = Integer("seed", 0, 0, 2**32 - 1, "keys the teacher, the inputs and the noise")
_LINK = Choice("link", "hermite-2", LINKS, "function g of the teacher")
_LABELS = Choice("labels", "real", ("real", "sign"), "real-valued targets, or two classes: target > 0")

FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        Family(
            "function",
            "y = f(x) of one variable, x uniform in [-1, 1]",
            (Choice("f", "sine", FUNCTIONS, "the function"), *_SIZES, _NOISE, _SEED),
        ),
        Family(
            "single-index",
            "y = g(u.x), x standard normal, u a random unit vector",
            (_DIMENSION, *_SIZES, _LINK, _NOISE, _LABELS, _SEED),
        ),
        Family(
            "multi-index",
            "y = (g(u_1.x) + ... + g(u_k.x)) / sqrt(k), x standard normal, u_i random and orthonormal",
            (
                _DIMENSION,
                Integer("k", 4, 1, 64, "directions, at most d"),
                *_SIZES,
                _LINK,
                _NOISE,
                _LABELS,
                _SEED,
            ),
        ),
        Family(
            "parity",
            "class 1 where the product of k coordinates is positive, x standard normal",
            (
                _DIMENSION,
                Integer("k", 2, 1, 1000, "coordinates in the product, at most d"),
                *_SIZES,
                Number("flip", 0.0, 0.5, "probability that a training label is turned around"),
                _SEED,
            ),
        ),
    )
}


def is_member(name: str) -> bool:
    """Whether a name refers to a family, well formed or not."""
    return name.partition(":")[0] in FAMILIES


def parse(name: str) -> Member:
    """The member of a family with a name.

    Args:
        name: As "parity:d=20,k=3"; parameters in any order, those left out have their defaults.

    Raises:
        DataError: Unknown family or parameter, or values out of range; names every one of them.

    >>> parse("function:n=32").name
    'function:f=sine,n=32,test=1024,noise=0,seed=0'
    """
    if len(name) > _LONGEST_NAME:
        raise DataError(f"a dataset name of {len(name)} characters; at most {_LONGEST_NAME} are allowed")
    head, colon, rest = name.partition(":")
    if head not in FAMILIES:
        raise DataError(unknown("family of datasets", head, FAMILIES))
    family = FAMILIES[head]
    known = {parameter.name: parameter for parameter in family.parameters}
    given: dict[str, Value] = {}
    problems = []
    for entry in rest.split(",") if colon else ():
        key, equals, text = (part.strip() for part in entry.partition("="))
        if not equals:
            problems.append(f"{entry!r} is not parameter=value")
        elif key not in known:
            problems.append(unknown("parameter", key, known))
        elif key in given:
            problems.append(f"{key} is given twice")
        else:
            value = known[key].parse(text)
            given[key] = known[key].default if value is None else value
            if value is None:
                problems.append(
                    f"{key}={text} is not allowed; {key} ({known[key].description}) may be "
                    f"{known[key].allowed}"
                )
    member = Member(family, {key: given.get(key, parameter.default) for key, parameter in known.items()})
    problems += _joint_problems(member)
    if problems:
        raise DataError(f"dataset {name!r}: {'; '.join(problems)}")
    return member


def _joint_problems(member: Member) -> list[str]:
    problems = []
    d = member.input_dim
    if "k" in member.values and member.integer("k") > d:
        problems.append(f"k={member.values['k']} is more than d={d}; k may be 1 .. d")
    if (member.values.get("link"), member.values.get("labels")) == ("abs", "sign"):
        problems.append("link=abs is never negative, so labels=sign has one class only; choose another link")
    rows = member.integer("n") + member.integer("test")
    if rows * d > LARGEST_SIZE:
        problems.append(
            f"(n + test) d = {rows * d:,} numbers are too many; at most {LARGEST_SIZE:,} are allowed: "
            f"with d={d}, n + test may be at most {LARGEST_SIZE // d:,}"
        )
    return problems


def _written(value: Value) -> str:
    """A value in a canonical name: the shortest text that reads as the same number."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)
