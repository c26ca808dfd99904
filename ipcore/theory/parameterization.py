"""A parameterization as a value: exponents per layer, learning rates per phase of steps.

    W^l = m^{-a_l} w^l,   w^l ~ N(0, s_l^2 m^{-2 b_l}),   rate of layer l at step t = eta m^{-c_l(t)}

(Yang & Hu, arXiv:2011.14522, definition of abc-parameterizations; c depends on the step as in Hajjar et al.,
arXiv:2110.15596; d scales Adam's epsilon as in Yang & Littwin, arXiv:2308.01814: eps_l = eps m^{-d_l}.)
Layers are l = 1..L+1 in formulas and 0..L in tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import as_exponent, format_exponent
from ipcore.theory.names import check_name
from ipcore.theory.table import Row, format_rows

MAX_HIDDEN_LAYERS: Final = 10_000
Exponents = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class RatePhase:
    """Learning-rate exponents from one step until the next phase starts.

    Attributes:
        start: First step (number of updates done before it) at which they hold, >= 0.
        c: One exponent per layer; the rate of layer l is eta m^{-c_l}.
        d: Adam's epsilon, eps m^{-d_l}; None: epsilon is negligible (sign-like). SGD ignores it.
    """

    start: int
    c: Exponents
    d: Exponents | None = None


@dataclass(frozen=True, slots=True)
class Biases:
    """Biases with exponents of their own: m^{-a} beta^l with beta^l ~ N(0, s^2 m^{-2b}), in every layer.

    Attributes:
        a: Multipliers, L+1 exponents; 0 where a bias is never multiplied.
        b: Initial standard deviations.
        phases: Learning rates, as in `Parameterization`.
    """

    a: Exponents
    b: Exponents
    phases: tuple[RatePhase, ...]

    def __post_init__(self) -> None:
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
    """

    start: int
    k: tuple[Fraction | None, ...]


@dataclass(frozen=True, slots=True)
class Parameterization:
    """Exponents of an abc-parameterization of a network with L hidden layers.

    Attributes:
        a: Layer multipliers, L+1 exponents.
        b: Initial standard deviations, L+1 exponents.
        phases: Learning rates, by start; the first starts at step 0.
        biases: Biases with their own exponents. None: no biases, or one in the first layer that shares the
            exponents of that layer (then it counts as one more input and changes no exponent).
        mean: Exponent of the mean of w^l, m^{-mean_l}, per layer; None in it, or for the whole: centred.
        reweightings: What happens to the initial matrices later, by start.

    Raises:
        TheoryError: Tuples of different or too small length, or phases that do not ascend from step 0.
    """

    a: Exponents
    b: Exponents
    phases: tuple[RatePhase, ...]
    biases: Biases | None = None
    mean: tuple[Fraction | None, ...] | None = None
    reweightings: tuple[Reweighting, ...] = ()

    def __post_init__(self) -> None:
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
        """The phase of the update after `step` earlier updates (step >= 0)."""
        return _phase_at(self.phases, step)

    def c_at(self, step: int) -> Exponents:
        """Rate exponents used by the update after `step` earlier updates (step >= 0)."""
        return self.phase_at(step).c

    def k_at(self, step: int) -> tuple[Fraction | None, ...]:
        """How the initial matrices are re-weighted in the forward pass at `step`: m^{-k_l}, None: removed."""
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
        rows = [Row("a", _texts(self.a)), Row("b", _texts(self.b)), *_phase_rows(self.phases, "")]
        if self.mean is not None:
            rows.insert(2, Row("mean", _texts(self.mean, "centred")))
        rows += [Row(f"w_0 x m^-k from step {r.start}: k", _texts(r.k, "removed")) for r in self.reweightings]
        if self.biases is not None:
            rows += [Row("bias a", _texts(self.biases.a)), Row("bias b", _texts(self.biases.b))]
            rows += _phase_rows(self.biases.phases, "bias ")
        return format_rows(rows)

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description; exponents are exact texts. `from_dict` reads it back."""
        result: dict[str, Any] = {"a": list(_texts(self.a)), "b": list(_texts(self.b))}
        result["phases"] = [_phase_dict(phase) for phase in self.phases]
        if self.biases is not None:
            result["biases"] = {
                "a": list(_texts(self.biases.a)),
                "b": list(_texts(self.biases.b)),
                "phases": [_phase_dict(phase) for phase in self.biases.phases],
            }
        if self.mean is not None:
            result["mean"] = [None if entry is None else format_exponent(entry) for entry in self.mean]
        if self.reweightings:
            result["reweightings"] = [
                {"start": r.start, "k": [None if e is None else format_exponent(e) for e in r.k]}
                for r in self.reweightings
            ]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Parameterization:
        """Read what `to_dict` wrote.

        Raises:
            TheoryError: A missing or unknown key, or a value that is no exponent; `field` is its path.

        >>> from ipcore.theory.building import custom
        >>> p = custom(2, a=["0", "1", "1"], b=["0"] * 3, c=["-1", "-2", "-1"])
        >>> Parameterization.from_dict(p.to_dict()) == p
        True
        """
        _check_keys(data, ("a", "b", "phases"), ("biases", "mean", "reweightings"), "")
        biases = None
        if data.get("biases") is not None:
            own = data["biases"]
            _check_keys(own, ("a", "b", "phases"), (), "biases.")
            biases = Biases(
                _read(own["a"], "biases.a"),
                _read(own["b"], "biases.b"),
                _read_phases(own["phases"], "biases."),
            )
        mean = None if data.get("mean") is None else _read_optional(data["mean"], "mean")
        reweightings = tuple(
            Reweighting(int(entry["start"]), _read_optional(entry["k"], f"reweightings[{i}].k"))
            for i, entry in enumerate(data.get("reweightings", ()))
        )
        a, b = _read(data["a"], "a"), _read(data["b"], "b")
        return cls(a, b, _read_phases(data["phases"], ""), biases, mean, reweightings)


def check_depth(hidden_layers: int) -> None:
    """Refuse depths without hidden layer or beyond `MAX_HIDDEN_LAYERS`.

    Raises:
        TheoryError: `field` is "hidden_layers".
    """
    if hidden_layers < 1:
        raise TheoryError(f"must be at least 1, not {hidden_layers}", "hidden_layers")
    if hidden_layers > MAX_HIDDEN_LAYERS:
        raise TheoryError(f"must be at most {MAX_HIDDEN_LAYERS}, not {hidden_layers}", "hidden_layers")


def expand_layers(
    entries: Sequence[str | Fraction | int], hidden_layers: int, field: str
) -> tuple[Fraction, ...]:
    """One exponent per layer from three (first, hidden, last) or from L+1.

    Raises:
        TheoryError: Neither length, or an entry that is not an exponent.

    >>> expand_layers(["0", "1/2", "1"], hidden_layers=3, field="a")
    (Fraction(0, 1), Fraction(1, 2), Fraction(1, 2), Fraction(1, 1))
    """
    values = [as_exponent(entry, f"{field}[{i}]") for i, entry in enumerate(entries)]
    if len(values) == hidden_layers + 1:
        return tuple(values)
    if len(values) == 3:
        first, hidden, last = values
        return (first, *[hidden] * (hidden_layers - 1), last)
    short = " or 3 (first, hidden, last)" if hidden_layers != 2 else ""  # there they are the same
    raise TheoryError(
        f"has {len(values)} entries; with {hidden_layers} hidden layers it needs {hidden_layers + 1} "
        f"(one per layer){short}",
        field,
    )


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
    return next(phase for phase in reversed(phases) if phase.start <= step)


def _texts(row: Sequence[Fraction | None], missing: str = "") -> tuple[str, ...]:
    return tuple(missing if entry is None else format_exponent(entry) for entry in row)


def _phase_rows(phases: tuple[RatePhase, ...], prefix: str) -> list[Row]:
    rows = []
    for i, phase in enumerate(phases):
        if len(phases) == 1:
            when = ""
        elif i == len(phases) - 1:
            when = f" (from step {phase.start})"
        elif phases[i + 1].start == phase.start + 1:
            when = f" (step {phase.start})"
        else:
            when = f" (steps {phase.start}..{phases[i + 1].start - 1})"
        rows.append(Row(f"{prefix}c{when}", _texts(phase.c)))
        if phase.d is not None:
            rows.append(Row(f"{prefix}d{when}", _texts(phase.d)))
    return rows


def _phase_dict(phase: RatePhase) -> dict[str, Any]:
    result: dict[str, Any] = {"start": phase.start, "c": list(_texts(phase.c))}
    if phase.d is not None:
        result["d"] = list(_texts(phase.d))
    return result


def _check_keys(data: Mapping[str, Any], needed: Sequence[str], optional: Sequence[str], prefix: str) -> None:
    for key in needed:
        if key not in data:
            raise TheoryError("is missing", prefix + key)
    for key in data:
        check_name(key, [*needed, *optional], f"{prefix}key")


def _read(entries: Sequence[Any], field: str) -> Exponents:
    return tuple(as_exponent(entry, f"{field}[{i}]") for i, entry in enumerate(entries))


def _read_optional(entries: Sequence[Any], field: str) -> tuple[Fraction | None, ...]:
    return tuple(
        None if entry is None else as_exponent(entry, f"{field}[{i}]") for i, entry in enumerate(entries)
    )


def _read_phases(entries: Sequence[Mapping[str, Any]], prefix: str) -> tuple[RatePhase, ...]:
    return tuple(
        RatePhase(
            int(entry["start"]),
            _read(entry["c"], f"{prefix}phases[{i}].c"),
            None if entry.get("d") is None else _read(entry["d"], f"{prefix}phases[{i}].d"),
        )
        for i, entry in enumerate(entries)
    )
