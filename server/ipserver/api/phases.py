"""Converts phase maps to messages of iplab.v1, and the free exponents of requests to ranges."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ipcore import theory
from iplab.v1 import phases_pb2 as pb
from ipserver.api.theory import regime

_Place = tuple[Fraction, Fraction]


def ranges(free: Iterable[pb.FreeExponent]) -> dict[str, tuple[str, str]]:
    """The ranges of free exponents by name.

    Raises:
        TheoryError: A name is given twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for entry in free:
        if entry.name in found:
            raise theory.TheoryError(f"{entry.name!r} is given twice; name two", "free")
        found[entry.name] = (entry.low, entry.high)
    return found


def phase_map(value: theory.Phases) -> pb.PhaseMap:
    """The message of a map, with its areas, borders, corners and presets."""
    return pb.PhaseMap(
        hidden_layers=value.parameterization.hidden_layers,
        optimizer=value.optimizer,
        activation=value.activation,
        loss=value.loss,
        free=[pb.FreeExponent(name=f.name, low=str(f.low), high=str(f.high)) for f in value.free],
        areas=[
            pb.PhaseArea(
                phase=_phase(area.label),
                outline=_outline(area.outline),
                holes=[_outline(hole) for hole in area.holes],
            )
            for area in value.areas
        ],
        borders=[
            pb.PhaseBorder(
                phase=_phase(border.label),
                start=_point(border.start),
                end=_point(border.end),
                left=None if border.sides[0] is None else _phase(border.sides[0]),
                right=None if border.sides[1] is None else _phase(border.sides[1]),
            )
            for border in value.borders
        ],
        corners=[
            pb.PhaseCorner(phase=_phase(corner.label), at=_point(corner.at)) for corner in value.corners
        ],
        presets=[
            pb.PhasePreset(preset=marked.name, at=_point(marked.at), phase=_phase(marked.phase))
            for marked in value.presets
        ],
        text=str(value),
        notes=value.notes,
    )


def _phase(phase: theory.Phase) -> pb.Phase:
    return pb.Phase(regime=regime(phase.regime), layers=phase.layers)


def _point(at: _Place) -> pb.PhasePoint:
    return pb.PhasePoint(x=str(at[0]), y=str(at[1]))


def _outline(outline: Iterable[_Place]) -> pb.PhaseOutline:
    return pb.PhaseOutline(corners=[_point(at) for at in outline])
