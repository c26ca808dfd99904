"""A parameterization as a value: exponents per layer, learning rates per phase of steps.

    W^l = m^{-a_l} w^l,   w^l ~ N(0, s_l^2 m^{-2 b_l}),   rate of layer l at step t = eta m^{-c_l(t)}

(Yang & Hu, arXiv:2011.14522, definition of abc-parameterizations; c depends on the step as in Hajjar et al.,
arXiv:2110.15596.) Layers are l = 1..L+1 in formulas and 0..L in tuples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import parse_exponent


@dataclass(frozen=True, slots=True)
class RatePhase:
    """Learning-rate exponents from one step until the next phase starts.

    Attributes:
        start: First step (number of updates done before it) at which they hold, >= 0.
        c: One exponent per layer; the rate of layer l is eta m^{-c_l}.
    """

    start: int
    c: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Parameterization:
    """Exponents of an abc-parameterization of a network with L hidden layers.

    Attributes:
        a: Layer multipliers, L+1 exponents.
        b: Initial standard deviations, L+1 exponents.
        phases: Learning rates, by start; the first starts at step 0.

    Raises:
        TheoryError: Tuples of different or too small length, or phases that do not ascend from step 0.
    """

    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]
    phases: tuple[RatePhase, ...]

    def __post_init__(self) -> None:
        layers = len(self.a)
        if layers < 2:
            raise TheoryError(f"a network has at least 2 layers (one hidden), not {layers}", "a")
        if len(self.b) != layers:
            raise TheoryError(f"has {len(self.b)} entries but a has {layers}", "b")
        for phase in self.phases:
            if len(phase.c) != layers:
                raise TheoryError(f"has {len(phase.c)} entries but a has {layers}", "c")
        starts = [phase.start for phase in self.phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise TheoryError(f"phases must start at step 0 and ascend, not at {starts}", "c")

    @property
    def hidden_layers(self) -> int:
        """L; there are L+1 weight matrices."""
        return len(self.a) - 1

    def c_at(self, step: int) -> tuple[Fraction, ...]:
        """Rate exponents used by the update after `step` earlier updates (step >= 0)."""
        return next(phase.c for phase in reversed(self.phases) if phase.start <= step)


def expand_layers(entries: Sequence[str | Fraction], hidden_layers: int, field: str) -> tuple[Fraction, ...]:
    """One exponent per layer from three (first, hidden, last) or from L+1.

    Raises:
        TheoryError: Neither length, or an entry that is not an exponent.

    >>> expand_layers(["0", "1/2", "1"], hidden_layers=3, field="a")
    (Fraction(0, 1), Fraction(1, 2), Fraction(1, 2), Fraction(1, 1))
    """
    values = [
        parse_exponent(entry, f"{field}[{i}]") if isinstance(entry, str) else entry
        for i, entry in enumerate(entries)
    ]
    if len(values) == hidden_layers + 1:
        return tuple(values)
    if len(values) == 3:
        first, hidden, last = values
        return (first, *[hidden] * (hidden_layers - 1), last)
    raise TheoryError(
        f"has {len(values)} entries; with {hidden_layers} hidden layers it needs {hidden_layers + 1} "
        "(one per layer) or 3 (first, hidden, last)",
        field,
    )


def custom(
    hidden_layers: int,
    a: Sequence[str | Fraction],
    b: Sequence[str | Fraction],
    c: Sequence[str | Fraction],
    c_first_step: Sequence[str | Fraction] = (),
) -> Parameterization:
    """A parameterization from exponents written out.

    Args:
        hidden_layers: L >= 1.
        a: Multipliers; each list has 3 entries (first, hidden, last) or L+1.
        b: Initial standard deviations.
        c: Learning rates; from step 1 on if `c_first_step` is given.
        c_first_step: Learning rates of step 0; empty: as `c`.

    Raises:
        TheoryError: As `expand_layers`; `field` names the list and entry.

    >>> naive_ip = custom(4, a=["0", "1", "1"], b=["0", "0", "0"], c=["-1", "-2", "-1"])
    >>> naive_ip.hidden_layers
    4
    """
    if hidden_layers < 1:
        raise TheoryError(f"must be at least 1, not {hidden_layers}", "hidden_layers")
    later = expand_layers(c, hidden_layers, "c")
    phases: tuple[RatePhase, ...] = (RatePhase(0, later),)
    if c_first_step:
        first = expand_layers(c_first_step, hidden_layers, "c_first_step")
        phases = (RatePhase(0, first), RatePhase(1, later))
    return Parameterization(
        expand_layers(a, hidden_layers, "a"), expand_layers(b, hidden_layers, "b"), phases
    )
