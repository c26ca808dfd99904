"""Parameterizations as text and as JSON-ready data. `ipcore.theory.reading` reads the data back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ipcore.theory.exponents import format_exponent
from ipcore.theory.table import Row, format_rows

if TYPE_CHECKING:
    from ipcore.theory.parameterization import Parameterization, RatePhase


def table_of(p: Parameterization) -> str:
    """The exponents as a paper prints them, plain text."""
    rows = [Row("a", _texts(p.a)), Row("b", _texts(p.b)), *_phase_rows(p.phases, "")]
    if p.mean is not None:
        rows.insert(2, Row("mean", _texts(p.mean, "centred")))
    rows += [Row(f"w_0 x m^-k from step {r.start}: k", _texts(r.k, "removed")) for r in p.reweightings]
    if p.biases is not None:
        rows += [Row("bias a", _texts(p.biases.a)), Row("bias b", _texts(p.biases.b))]
        rows += _phase_rows(p.biases.phases, "bias ")
    return format_rows(rows)


def as_data(p: Parameterization) -> dict[str, Any]:
    """A JSON-ready description; exponents are exact texts."""
    result: dict[str, Any] = {"a": list(_texts(p.a)), "b": list(_texts(p.b))}
    result["phases"] = [_phase_dict(phase) for phase in p.phases]
    if p.biases is not None:
        result["biases"] = {
            "a": list(_texts(p.biases.a)),
            "b": list(_texts(p.biases.b)),
            "phases": [_phase_dict(phase) for phase in p.biases.phases],
        }
    if p.mean is not None:
        result["mean"] = _optional(p.mean)
    if p.reweightings:
        result["reweightings"] = [{"start": r.start, "k": _optional(r.k)} for r in p.reweightings]
    return result


def _optional(row: Sequence[Fraction | None]) -> list[str | None]:
    return [None if entry is None else format_exponent(entry) for entry in row]


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
