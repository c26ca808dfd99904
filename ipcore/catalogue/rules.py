"""Rules for the value of a setting: an interval, what a format holds, one of several names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ipcore.catalogue.formats import SINGLE, Range, fits
from ipcore.errors import unknown


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
