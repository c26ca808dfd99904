"""A map of phases as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ipcore.theory.layer_names import ranges
from ipcore.theory.plane.borders import Border, Place
from ipcore.theory.quantities import instance
from ipcore.words import counted

if TYPE_CHECKING:
    from ipcore.theory.diagram import Phase, Phases


def diagram_text(found: Phases) -> str:
    """Setting, phases, owners of the borders, presets."""
    p, (x, y) = found.parameterization, found.free
    depth = counted(p.hidden_layers, "hidden layer")
    lines = [
        f"{depth}, {found.optimizer}, {found.activation}, {found.loss}",
        f"x = {x.name} from {x.low} to {x.high}, y = {y.name} from {y.low} to {y.high}",
    ]
    for phase in _phases(found):
        lines += ["", phase_name(phase), *(f"    {text}" for text in _where(found, phase))]
    between = list(_between(found))
    if between:
        lines += ["", "borders between areas", *(f"    {text}" for text in between)]
    if found.presets:
        lines += ["", "presets (up to a gauge)"]
        lines += [f"    {m.name} {place_text(m.at)}: {phase_name(m.phase)}" for m in found.presets]
    lines += [line for note in found.notes for line in ("", f"note: {note}")]
    return "\n".join(lines)


def phase_name(phase: Phase) -> str:
    """A phase in words.

    Raises:
        TheoryError: No `Phase`.

    >>> from ipcore.theory.diagram import Phase
    >>> from ipcore.theory.regime import Regime
    >>> phase_name(Phase(Regime.FEATURE_LEARNING, (1, 2, 3)))
    'feature learning (layers 1..3)'
    """
    from ipcore.theory.diagram import Phase  # noqa: PLC0415 - which prints itself with this module

    instance(phase, Phase, "phase")
    if phase.regime is None:
        return "not decided"
    name = phase.regime.replace("_", " ")
    if not phase.layers:
        return name
    return f"{name} ({'layer' if len(phase.layers) == 1 else 'layers'} {ranges(phase.layers)})"


def place_text(at: Place) -> str:
    """A point as text: "(1/2, -1)"."""
    return f"({at[0]}, {at[1]})"


def _phases(found: Phases) -> list[Phase]:
    """All phases of the map, those of areas first."""
    labels = [entry.label for group in (found.areas, found.borders, found.corners) for entry in group]
    return list(dict.fromkeys(labels))


def _where(found: Phases, phase: Phase) -> Iterator[str]:
    for area in found.areas:
        if area.label == phase:
            holes = "".join(f"; without {_outline(hole)}" for hole in area.holes)
            yield f"area {_outline(area.outline)}{holes}"
    own = {corner.at for corner in found.corners if corner.label == phase}
    lines = [b for b in found.borders if b.label == phase and phase not in b.sides]
    for line in lines:
        yield f"line {_segment(line, own)}"
    touching = {
        end for border in found.borders if border.label == phase for end in (border.start, border.end)
    }
    touching |= {
        end for border in found.borders if phase in border.sides for end in (border.start, border.end)
    }
    for at in sorted(own - touching):
        yield f"point {place_text(at)}"


def _segment(line: Border[Phase], own: set[Place]) -> str:
    left_out = [place_text(end) for end in (line.start, line.end) if end not in own]
    without = f", without {' and '.join(left_out)}" if left_out else ""
    return f"{place_text(line.start)} to {place_text(line.end)}{without}"


def _between(found: Phases) -> Iterator[str]:
    """Borders that belong to one of the areas at their sides."""
    for border in found.borders:
        left, right = border.sides
        if border.label in border.sides and left is not None and right is not None:
            other = right if border.label == left else left
            own = {corner.at for corner in found.corners if corner.label == border.label}
            what = f"{phase_name(border.label)}, not to {phase_name(other)}"
            yield f"{_segment(border, own)}: belongs to {what}"


def _outline(outline: Sequence[Place]) -> str:
    return " ".join(place_text(at) for at in outline)
