"""Protocols of the checks that figures draw.

Reports of the client and of `ipcore.analysis` satisfy them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol


class SubjectLike(Protocol):
    """Runs that are judged together, as reports of the client and of `ipcore.analysis` have them."""

    @property
    def parameterization(self) -> str:
        """Label."""

    @property
    def reference(self) -> str:
        """Label that theory was applied to."""

    @property
    def hidden_layers(self) -> int:
        """L."""

    @property
    def activation(self) -> str:
        """Name."""

    @property
    def base_learning_rate(self) -> float | None:
        """None or 0 where several rates are compared."""

    @property
    def layers(self) -> int:
        """Weight matrices; the last layer is the output."""


class Said(Protocol):
    """A statement of a report on runs: a check or a conclusion."""

    @property
    def subject(self) -> SubjectLike:
        """Whose runs."""

    @property
    def sentence(self) -> str:
        """In words."""


class CheckLike(Said, Protocol):
    """One comparison of a slope with theory, as above."""

    @property
    def kind(self) -> str:
        """COORDINATE, ISOLATED_UPDATE, STATIONARITY, CALIBRATED_RATE, RATE_TRANSFER, ALIGNMENT or LIMIT."""

    @property
    def quantity(self) -> str:
        """The metric, or ""."""

    @property
    def layer(self) -> int:
        """l, from 1; 0 where no layer is meant."""

    @property
    def step(self) -> int:
        """Updates done."""

    @property
    def predicted(self) -> Fraction | str | None:
        """Theory's exponent; None or "" where it has none."""

    @property
    def predicted_high(self) -> Fraction | str | None:
        """Upper end where it has an interval."""

    @property
    def upper_bound(self) -> bool:
        """Whether it is an upper bound only."""

    @property
    def slope(self) -> float | None:
        """Measured; None where none could be."""

    @property
    def low(self) -> float | None:
        """Lower end of its 95 % interval."""

    @property
    def high(self) -> float | None:
        """Upper end."""

    @property
    def expected(self) -> float | None:
        """Slope that the measured parts of a change give at these widths."""

    @property
    def verdict(self) -> str:
        """A string or an enum of strings."""

    @property
    def seeds(self) -> int:
        """Number of seeds used."""

    @property
    def sizes(self) -> Sequence[tuple[int, float, float | None, float | None]]:
        """Width, value, lower and upper end of its 95 % interval."""
