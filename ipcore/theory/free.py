"""Exponents of a parameterization that are left free, by name.

A name is a list of exponents as `custom` has them (`a`, `b`, `c`, `d`, `c_first_step`, `d_first_step`) and,
after an underscore, the layer: its number 1..L+1, `first`, `hidden` (all of 2..L) or `last`. Without a layer
all layers have the same value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.exponents import as_exponent
from ipcore.theory.gauge import rate_factor
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.presets import presets_at

_NAME: Final = re.compile(r"([abcd])((?:_first_step)?)(?:_(first|hidden|last|[1-9]\d{0,4}))?")
_SHAPE: Final = (
    "a, b, c, d, c_first_step or d_first_step, for all layers at once, or followed by a layer: "
    "'c', 'a_last', 'b_hidden', 'c_first', 'c_2'"
)
Range = tuple[str | Fraction | int, str | Fraction | int]


@dataclass(frozen=True, slots=True)
class Free:
    """A free exponent.

    Attributes:
        name: As given.
        low: Smallest value.
        high: Largest value, > low.
        kind: "a", "b", "c" or "d".
        first_step: Whether it belongs to the first phase of rates (from step 0 on) rather than to later
            ones.
        layers: Indices 0..L of the matrices that have it.
    """

    name: str
    low: Fraction
    high: Fraction
    kind: str
    first_step: bool
    layers: tuple[int, ...]


def read_free(p: Parameterization, free: Mapping[str, Range], optimizer: str) -> tuple[Free, Free]:
    """The two free exponents, checked.

    Args:
        p: The parameterization that has all other exponents.
        free: Name to (smallest, largest) value.
        optimizer: Key of `OPTIMIZERS` whose rule holds.

    Raises:
        TheoryError: Not two, an unknown name, a layer that does not exist, one exponent twice, exponents
            without effect, or a range that is empty or not exact.
    """
    if not isinstance(free, Mapping):
        raise TheoryError(f"must map names to ranges, not {shown(free)}", "free")
    if len(free) != 2:
        given = ", ".join(map(shown, free)) or "none"
        raise TheoryError(f"a plane has 2 free exponents, not {len(free)} ({given}); name two", "free")
    findings = Findings()
    found = []
    for name, ends in free.items():
        with findings.noted():
            found.append(_read(p, name, ends, optimizer))
    findings.check()
    x, y = found
    if (x.kind, x.first_step) == (y.kind, y.first_step) and set(x.layers) & set(y.layers):
        raise TheoryError(f"{x.name!r} and {y.name!r} are partly the same exponent; name two others", "free")
    return x, y


def with_phases(p: Parameterization, free: Sequence[Free]) -> Parameterization:
    """The same parameterization with a separate phase for step 0 if one of its exponents is free."""
    if len(p.phases) > 1 or not any(entry.first_step for entry in free):
        return p
    return replace(p, phases=(p.phases[0], replace(p.phases[0], start=1)))


def put(p: Parameterization, free: Free, value: Fraction) -> Parameterization:
    """The parameterization with a value for a free exponent, after `with_phases`."""

    def entries(old: Sequence[Fraction]) -> tuple[Fraction, ...]:
        return tuple(value if i in free.layers else entry for i, entry in enumerate(old))

    if free.kind == "a":
        return replace(p, a=entries(p.a))
    if free.kind == "b":
        return replace(p, b=entries(p.b))

    def changed(phase: RatePhase) -> RatePhase:
        if free.kind == "c":
            return replace(phase, c=entries(phase.c))
        return phase if phase.d is None else replace(phase, d=entries(phase.d))

    later = 1 if len(p.phases) > 1 else 0
    return replace(
        p,
        phases=tuple(
            changed(phase) if free.first_step == (i < later) else phase for i, phase in enumerate(p.phases)
        ),
    )


def presets_in_plane(
    p: Parameterization, free: tuple[Free, Free], optimizer: str
) -> dict[str, tuple[Fraction, Fraction]]:
    """Presets that are, up to a gauge, a point of the rectangle; their places.

    Args:
        p: All other exponents, after `with_phases`.
        free: The free ones.
        optimizer: Whose presets and whose gauge.
    """
    if p.biases is not None or p.mean is not None or p.reweightings:
        return {}
    known = presets_at(p.hidden_layers, optimizer=optimizer)
    origin, right, up = (
        put(put(p, free[0], Fraction(x)), free[1], Fraction(y)) for x, y in ((0, 0), (1, 0), (0, 1))
    )
    # Where epsilon is negligible in the plane, presets count without theirs.
    epsilon = optimizer == "adam" and p.phases[0].d is not None
    found = {}
    for name, preset in known.items():
        if preset.biases is not None or preset.mean is not None or preset.reweightings:
            continue
        if epsilon and any(phase.d is None for phase in (*p.phases, *preset.phases)):
            continue
        starts = sorted({phase.start for phase in (*p.phases, *preset.phases)})
        start, along_x, along_y, wanted = (
            _invariants(q, starts, optimizer, epsilon=epsilon) for q in (origin, right, up, preset)
        )
        rows = [(q - o, r - o, w - o) for o, q, r, w in zip(start, along_x, along_y, wanted, strict=True)]
        place = _solve(rows)
        if place is not None and all(
            entry.low <= at <= entry.high for entry, at in zip(free, place, strict=True)
        ):
            found[name] = place
    return found


def _read(p: Parameterization, name: str, ends: Range, optimizer: str) -> Free:
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise TheoryError(f"unknown free exponent {shown(name)}; write {_SHAPE}", "free")
    kind, first_step, layer = match[1], bool(match[2]), match[3]
    if first_step and kind in "ab":
        raise TheoryError(f"{name!r}: {kind} does not depend on the step; write {_SHAPE}", "free")
    if kind == "d" and (optimizer != "adam" or any(phase.d is None for phase in p.phases)):
        why = (
            "epsilon is negligible in this parameterization" if optimizer == "adam" else f"not of {optimizer}"
        )
        raise TheoryError(f"{name!r} is an exponent of Adam's epsilon, {why}: it has no effect", "free")
    layers = p.hidden_layers + 1
    if layer is None:
        indices = tuple(range(layers))
    elif layer == "hidden":
        indices = tuple(range(1, layers - 1))
    else:
        number = {"first": 1, "last": layers}.get(layer) or int(layer)
        indices = (number - 1,) if number <= layers else ()
    if not indices:
        raise TheoryError(
            f"{name!r}: with {p.hidden_layers} hidden layers there are the matrices 1 .. {layers}, and "
            f"hidden ones are {'2 .. ' + str(layers - 1) if layers > 2 else 'none'}",
            "free",
        )
    field = f"free[{name}]"
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise TheoryError(f"needs its smallest and its largest value, not {shown(ends)}", field)
    low, high = (as_exponent(end, field) for end in ends)
    if not low < high:
        raise TheoryError(f"the range from {low} to {high} is empty; the smaller value comes first", field)
    if p.mean is not None and kind == "b" and indices != (0,):
        raise TheoryError(
            f"{name!r}: the mean of initial weights, which is as large, would not follow", "free"
        )
    return Free(name, low, high, kind, first_step, indices)


def _invariants(
    p: Parameterization, starts: Sequence[int], optimizer: str, *, epsilon: bool
) -> list[Fraction]:
    """Invariants of the gauge: a + b; at the starts of phases c + 2a and d - a.

    For updates whose size does not depend on the gradient it is c + a.
    """
    factor = rate_factor(optimizer)
    found = [a + b for a, b in zip(p.a, p.b, strict=True)]
    for start in starts:
        phase = p.phase_at(start)
        found += [c + factor * a for a, c in zip(p.a, phase.c, strict=True)]
        if epsilon and phase.d is not None:
            found += [d - a for a, d in zip(p.a, phase.d, strict=True)]
    return found


def _solve(rows: Sequence[tuple[Fraction, Fraction, Fraction]]) -> tuple[Fraction, Fraction] | None:
    """The x, y with p x + q y = r for all rows (p, q, r); None: there is none, or more than one."""
    for i, (p, q, r) in enumerate(rows):
        for s, t, u in rows[:i]:
            determinant = p * t - q * s
            if determinant != 0:
                x, y = (r * t - q * u) / determinant, (p * u - r * s) / determinant
                return (x, y) if all(p * x + q * y == r for p, q, r in rows) else None
    return None
