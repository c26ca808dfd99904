"""Alignment as an assumption or a measurement: exponents in the place of those that the calculus derives.

Of matrix l = 2..L+1, with rms sizes:

    theta_l    Delta W^l x_t is m^{theta} times |Delta W^l| |x_t|           aligned: 1
    theta'_l   (Delta W^l)^T dh_t is m^{theta'} times |Delta W^l| |dh_t|    aligned: 1; l <= L
    omega_l    W_0^l (x_t - x_0) is m^{omega} times |W_0^l| |x_t - x_0|     1/2, at the readout 1

The right column has the derived value where nothing vanishes. 1/2 is a random sum (central limit theorem), 1
one shared direction (law of large numbers). theta' has no meaning at the readout: the number of outputs does
not grow. The named choices are the assumptions of Everett et al. (arXiv:2407.05872): *full* alignment of
updates with their inputs, *none*; in both W_0 acts on changes as on anything else, at the readout too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.checks import check_depth
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.exponents import as_exponent, exact
from ipcore.theory.names import check_name
from ipcore.theory.written import Written

_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
ALIGNMENTS: Final = {
    "full": "updates are aligned with their inputs; W_0 is not aligned with changes, even at the readout",
    "none": "nothing is aligned: every exponent is 1/2",
}
_NAMED: Final = {"full": (_ONE, _ONE, _HALF), "none": (_HALF, _HALF, _HALF)}
Given = Sequence[str | Fraction | int] | str | Fraction | int


@dataclass(frozen=True, slots=True)
class Alignment(Written):
    """Exponents of alignment, each between 1/2 and 1.

    Attributes:
        forward: theta_l of W^2..W^{L+1}: L entries.
        backward: theta'_l of W^2..W^L: L-1 entries.
        initial: omega_l of W^2..W^{L+1}: L entries.

    Raises:
        TheoryError: Rows that do not fit each other, or entries outside; all of them are named.
    """

    forward: tuple[Fraction, ...]
    backward: tuple[Fraction, ...]
    initial: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        findings = Findings()
        for field in fields(self):
            with findings.noted():
                object.__setattr__(self, field.name, _checked(getattr(self, field.name), field.name))
        findings.check()
        L = len(self.forward)
        for name, row, needed in (("backward", self.backward, L - 1), ("initial", self.initial, L)):
            with findings.noted():
                _check_length(row, needed, name)
        findings.check()

    @classmethod
    def of(
        cls, hidden_layers: int, *, forward: Given = 1, backward: Given = 1, initial: Given | None = None
    ) -> Alignment:
        """Alignment of a network with L hidden layers; one number holds for all matrices.

        Args:
            hidden_layers: L.
            forward: theta: a number, or L of them.
            backward: theta': a number, or L-1.
            initial: omega: a number, or L; None: as the calculus has it, 1/2, at the readout 1.

        Raises:
            TheoryError: As the class.

        >>> print(Alignment.of(3, forward=["1", "1/2", "1/2"]))
        theta 1 1/2 1/2, theta' 1 1, omega 1/2 1/2 1
        """
        check_depth(hidden_layers)
        L = hidden_layers
        findings = Findings()
        rows: list[tuple[Fraction, ...]] = []
        own = (_HALF,) * (L - 1) + (_ONE,)
        given = (("forward", forward, L), ("backward", backward, L - 1), ("initial", initial, L))
        for name, row, length in given:
            with findings.noted():
                rows.append(own if row is None else _row(row, length, f"alignment.{name}"))
        findings.check()
        return cls(*rows)

    @property
    def derived(self) -> bool:
        """Whether theta = theta' = 1, and omega = 1/2 below the readout, as where nothing vanishes.

        Then factors are the same forward and backward, as the rules for all steps need.
        """
        hidden = self.initial[:-1]
        return all(entry == _ONE for entry in (*self.forward, *self.backward)) and set(hidden) <= {_HALF}

    def at_most(self, other: Alignment) -> bool:
        """Whether no entry is larger than that of another alignment of the same depth."""
        pairs = zip(self._entries, other._entries, strict=True)
        return all(mine <= theirs for mine, theirs in pairs)

    @property
    def _entries(self) -> tuple[Fraction, ...]:
        return (*self.forward, *self.backward, *self.initial)

    def __str__(self) -> str:
        rows = (("theta", self.forward), ("theta'", self.backward), ("omega", self.initial))
        return ", ".join(f"{name} {' '.join(map(str, _short(row)))}" for name, row in rows if row)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        return {row.name: [str(entry) for entry in getattr(self, row.name)] for row in fields(self)}


def read_alignment(
    given: str | Alignment | Sequence[Alignment] | None, hidden_layers: int
) -> tuple[Alignment, ...]:
    """The alignment given to `analyze`: none, one, or a lower and an upper bound.

    Raises:
        TheoryError: An unknown name, another depth, or bounds that are not in order.

    >>> [str(one) for one in read_alignment("none", 2)]
    ["theta 1/2 1/2, theta' 1/2, omega 1/2 1/2"]
    """
    if given is None:
        return ()
    if isinstance(given, str):
        check_name(given, ALIGNMENTS, "alignment")
        forward, backward, initial = _NAMED[given]
        return (Alignment.of(hidden_layers, forward=forward, backward=backward, initial=initial),)
    bounds = (given,) if isinstance(given, Alignment) else given
    if (
        not isinstance(bounds, Sequence)
        or len(bounds) not in {1, 2}
        or not all(isinstance(bound, Alignment) for bound in bounds)
    ):
        raise TheoryError(
            f"must be one of {', '.join(ALIGNMENTS)}, an Alignment, or two of them as bounds, not "
            f"{shown(given)}",
            "alignment",
        )
    for bound in bounds:
        if len(bound.forward) != hidden_layers:
            raise TheoryError(
                f"has exponents of {len(bound.forward)} matrices above the first; a network with "
                f"{hidden_layers} hidden layers has {hidden_layers}",
                "alignment",
            )
    if len(bounds) == 2 and not bounds[0].at_most(bounds[1]):
        raise TheoryError("the lower bound is larger than the upper one in some entry", "alignment")
    return tuple(dict.fromkeys(bounds))


def _row(given: Given, length: int, field: str) -> tuple[Fraction, ...]:
    if isinstance(given, str | Fraction | int):
        return (_in_range(as_exponent(given, field), field),) * length
    if not isinstance(given, Sequence):
        raise TheoryError(f"must be an exponent or a list of them, not {shown(given)}", field)
    if len(given) != length:
        raise TheoryError(f"has {len(given)} entries; it needs 1 or {length}", field)
    findings, found = Findings(), []
    for i, entry in enumerate(given):
        place = f"{field}[{i}]"
        with findings.noted():
            found.append(_in_range(as_exponent(entry, place), place, f", in W^{i + 2}"))
    findings.check()
    return tuple(found)


def _check_length(row: tuple[Fraction, ...], needed: int, name: str) -> None:
    if len(row) != needed:
        raise TheoryError(f"has {len(row)} entries; it needs {needed}", f"alignment.{name}")


def _checked(row: Any, name: str) -> tuple[Fraction, ...]:
    if not isinstance(row, tuple | list):
        raise TheoryError(f"must be a tuple of exponents, not {shown(row)}", f"alignment.{name}")
    findings, found = Findings(), []
    first = 2  # layers of the entries
    for layer, entry in enumerate(row, start=first):
        field = f"alignment.{name}[{layer - first}]"
        with findings.noted():
            found.append(_in_range(exact(entry, field), field, f", in W^{layer}"))
    findings.check()
    return tuple(found)


def _in_range(value: Fraction, field: str, where: str = "") -> Fraction:
    if not _HALF <= value <= _ONE:
        raise TheoryError(
            f"must be between 1/2 (a random sum) and 1 (one direction), not {shown(str(value))}{where}", field
        )
    return value


def _short(row: tuple[Fraction, ...]) -> tuple[Fraction | str, ...]:
    few = 6
    return row if len(row) <= few else (*row[: few - 2], "..", row[-1])
