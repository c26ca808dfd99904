"""A parameterization as a value: exponents per layer, learning rates per phase of steps.

    W^l = m^{-a_l} w^l,   w^l ~ N(0, s_l^2 m^{-2 b_l}),   rate of layer l at step t = eta m^{-c_l(t)}

(Yang & Hu, arXiv:2011.14522, definition of abc-parameterizations; c depends on the step as in Hajjar et al.,
arXiv:2110.15596; d scales Adam's epsilon as in Yang & Littwin, arXiv:2308.01814: eps_l = eps m^{-d_l}.)
Layers are l = 1..L+1 in formulas and 0..L in tuples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ipcore.theory.checks import MAX_HIDDEN_LAYERS, check_start, exact_row, values_of
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.writing import as_data, table_of
from ipcore.theory.written import Written

Exponents = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class RatePhase:
    """Learning-rate exponents from one step until the next phase starts.

    Attributes:
        start: First step (number of updates done before it) at which they hold, >= 0.
        c: One exponent per layer; the rate of layer l is eta m^{-c_l}.
        d: Adam's epsilon, eps m^{-d_l}; None: epsilon is negligible (sign-like). SGD ignores it.

    Raises:
        TheoryError: `start` is no step in 0..10^12, or entries are not exact numbers; all of them are named.
    """

    start: int
    c: Exponents
    d: Exponents | None = None

    def __post_init__(self) -> None:
        findings = Findings()
        with findings.noted():
            check_start(self.start, 0, "start")
        for name, row in (("c", self.c), ("d", self.d)):
            if name == "c" or row is not None:
                with findings.noted():
                    object.__setattr__(self, name, exact_row(row, name))
        findings.check()


@dataclass(frozen=True, slots=True)
class Biases:
    """Biases with exponents of their own: m^{-a} beta^l with beta^l ~ N(0, s^2 m^{-2b}), in every layer.

    Attributes:
        a: Multipliers, L+1 exponents; 0 where a bias is never multiplied.
        b: Initial standard deviations.
        phases: Learning rates, as in `Parameterization`.

    Raises:
        TheoryError: As `Parameterization`.
    """

    a: Exponents
    b: Exponents
    phases: tuple[RatePhase, ...]

    def __post_init__(self) -> None:
        findings = Findings()
        for name in ("a", "b"):
            with findings.noted():
                object.__setattr__(self, name, exact_row(getattr(self, name), f"biases.{name}"))
        with findings.noted():
            object.__setattr__(self, "phases", values_of(self.phases, RatePhase, "biases.phases"))
        findings.check()
        _check_layers(self.a, self.b, self.phases, "biases.")

    def phase_at(self, step: int) -> RatePhase:
        """The phase of the update after `step` earlier updates."""
        return _phase_at(self.phases, step)


@dataclass(frozen=True, slots=True)
class Reweighting:
    """From step `start` on the initial matrix counts less: W^l = m^{-a_l}(m^{-k_l} w_0 + (w - w_0)).

    Attributes:
        start: First step at which it holds, >= 1 (at step 0 the initial matrices are what they are).
        k: One exponent per layer; 0 keeps the matrix, None removes it.

    Raises:
        TheoryError: `start` is no step in 1..10^12, or entries are not exact numbers; all of them are named.
    """

    start: int
    k: tuple[Fraction | None, ...]

    def __post_init__(self) -> None:
        findings = Findings()
        with findings.noted():
            check_start(self.start, 1, "start")
        with findings.noted():
            object.__setattr__(self, "k", exact_row(self.k, "k", optional=True))
        findings.check()


@dataclass(frozen=True, slots=True)
class Parameterization(Written):
    """Exponents of an abc-parameterization of a network with L hidden layers.

    Attributes:
        a: Layer multipliers, L+1 exponents.
        b: Initial standard deviations, L+1 exponents.
        phases: Learning rates, by start; the first starts at step 0.
        biases: Biases with their own exponents. None: no biases, or one in the first layer that shares the
            exponents of that layer (then it counts as one more input and changes no exponent).
        mean: Exponent of the mean of w^l, m^{-mean_l}, per layer; an entry None: the layer is centred. None:
            all are.
        reweightings: Later re-weightings of the initial matrices, by start.

    Raises:
        TheoryError: Entries that are not exact numbers, tuples of different or too small length, or phases
            that do not ascend from step 0; all of them are named.
    """

    a: Exponents
    b: Exponents
    phases: tuple[RatePhase, ...]
    biases: Biases | None = None
    mean: tuple[Fraction | None, ...] | None = None
    reweightings: tuple[Reweighting, ...] = ()

    def __post_init__(self) -> None:
        findings = Findings()
        for name in ("a", "b"):
            with findings.noted():
                object.__setattr__(self, name, exact_row(getattr(self, name), name))
        with findings.noted():
            object.__setattr__(self, "phases", values_of(self.phases, RatePhase, "phases"))
        with findings.noted():
            if self.biases is not None and not isinstance(self.biases, Biases):
                raise TheoryError(f"must be Biases or None, not {shown(self.biases)}", "biases")
        with findings.noted():
            if self.mean is not None:
                object.__setattr__(self, "mean", exact_row(self.mean, "mean", optional=True))
        with findings.noted():
            found = values_of(self.reweightings, Reweighting, "reweightings")
            object.__setattr__(self, "reweightings", found)
        findings.check()
        _check_layers(self.a, self.b, self.phases, "")
        layers = len(self.a)
        if self.biases is not None and len(self.biases.a) != layers:
            raise TheoryError(f"has {len(self.biases.a)} entries but a has {layers}", "biases.a")
        if self.mean is not None and len(self.mean) != layers:
            raise TheoryError(f"has {len(self.mean)} entries but a has {layers}", "mean")
        starts = [reweighting.start for reweighting in self.reweightings]
        if sorted(set(starts)) != starts or (starts and starts[0] < 1):
            raise TheoryError(f"must start at step 1 or later and ascend, not at {starts}", "reweightings")
        for reweighting in self.reweightings:
            if len(reweighting.k) != layers:
                raise TheoryError(f"has {len(reweighting.k)} entries but a has {layers}", "reweightings")

    @property
    def hidden_layers(self) -> int:
        """L; there are L+1 weight matrices."""
        return len(self.a) - 1

    def phase_at(self, step: int) -> RatePhase:
        """The phase of the update after `step` earlier updates.

        Raises:
            TheoryError: `step` is not an integer in 0..10^12.
        """
        return _phase_at(self.phases, step)

    def c_at(self, step: int) -> Exponents:
        """Rate exponents used by the update after `step` earlier updates.

        Raises:
            TheoryError: As `phase_at`.
        """
        return self.phase_at(step).c

    def k_at(self, step: int) -> tuple[Fraction | None, ...]:
        """How the initial matrices are re-weighted in the forward pass at `step`: m^{-k_l}, None: removed.

        Raises:
            TheoryError: As `phase_at`.
        """
        check_start(step, 0, "step")
        current: tuple[Fraction | None, ...] = (Fraction(0),) * len(self.a)
        for reweighting in self.reweightings:
            if reweighting.start <= step:
                current = reweighting.k
        return current

    @property
    def changes(self) -> tuple[int, ...]:
        """Steps > 0 at which rates or weights of the initial matrices change, ascending."""
        starts = {phase.start for phase in self.phases} | {r.start for r in self.reweightings}
        if self.biases is not None:
            starts |= {phase.start for phase in self.biases.phases}
        return tuple(sorted(starts - {0}))

    def table(self) -> str:
        """The exponents as a paper prints them, plain text."""
        return table_of(self)

    def __str__(self) -> str:
        return table_of(self)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description; exponents are exact texts. `from_dict` reads it back."""
        return as_data(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Parameterization:
        """Read what `to_dict` wrote.

        Raises:
            TheoryError: A missing or unknown key, or a value that is not an exponent; `field` is its path.

        >>> from ipcore.theory.building import custom
        >>> p = custom(2, a=["0", "1", "1"], b=["0"] * 3, c=["-1", "-2", "-1"])
        >>> Parameterization.from_dict(p.to_dict()) == p
        True
        """
        from ipcore.theory.reading import read_parameterization  # noqa: PLC0415 - it builds these values

        return read_parameterization(data)


def check_parameterization(value: object) -> Parameterization:
    """Refuse values that are not a `Parameterization`.

    Raises:
        TheoryError: `field` is "parameterization".
    """
    if not isinstance(value, Parameterization):
        raise TheoryError(
            f"must be a Parameterization (see `preset` and `custom`), not {shown(value)}", "parameterization"
        )
    return value


def _check_layers(a: Exponents, b: Exponents, phases: tuple[RatePhase, ...], prefix: str) -> None:
    layers = len(a)
    if layers < 2:
        raise TheoryError(f"a network has at least 2 layers (one hidden), not {layers}", f"{prefix}a")
    if layers - 1 > MAX_HIDDEN_LAYERS:
        raise TheoryError(
            f"a network has at most {MAX_HIDDEN_LAYERS} hidden layers, not {layers - 1}", f"{prefix}a"
        )
    if len(b) != layers:
        raise TheoryError(f"has {len(b)} entries but a has {layers}", f"{prefix}b")
    for phase in phases:
        if len(phase.c) != layers:
            raise TheoryError(f"has {len(phase.c)} entries but a has {layers}", f"{prefix}c")
        if phase.d is not None and len(phase.d) != layers:
            raise TheoryError(f"has {len(phase.d)} entries but a has {layers}", f"{prefix}d")
    starts = [phase.start for phase in phases]
    if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
        raise TheoryError(f"phases must start at step 0 and ascend, not at {starts}", f"{prefix}c")


def _phase_at(phases: tuple[RatePhase, ...], step: int) -> RatePhase:
    check_start(step, 0, "step")
    return next(phase for phase in reversed(phases) if phase.start <= step)
