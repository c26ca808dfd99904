"""Maps of phases over two exponents: theory's regions, exact, and measured points on them.

`ipcore.figures.phase_map` draws them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from ipcore.figures.phase_map import draw_phases
from ipcore.figures.picture import Picture
from ipcore.theory import Phases, phase_name
from ipcore.words import counted

if TYPE_CHECKING:
    from ipcore.figures.layout import AnyFigure, Target

_HEIGHT: Final = 2.6  # inches


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """Result of training at a point of the map.

    Attributes:
        at: The two exponents.
        name: The result in a word or two; "" for none.
        agrees: Whether it agrees with theory; None: undecided.
    """

    at: tuple[Fraction, Fraction]
    name: str = ""
    agrees: bool | None = None


@dataclass(frozen=True, slots=True)
class PhaseDiagram(Picture):
    """A map over two exponents.

    Attributes:
        phases: Theory's, exact.
        title: Before the setting, for instance a preset's name.
        points: Measured ones.
        seeds: Number of seeds behind the points.
        meaning: Last sentences of the caption.
    """

    phases: Phases
    title: str = ""
    points: tuple[MeasuredPoint, ...] = ()
    seeds: int = 0
    meaning: str = ""

    @property
    def setting(self) -> str:
        """One line that says what is mapped."""
        found = self.phases
        depth = found.parameterization.hidden_layers
        head = [self.title, f"L = {depth}", found.optimizer, found.activation, found.loss.replace("_", " ")]
        return ", ".join(part for part in head if part)

    @property
    def caption(self) -> str:
        """See `Picture`."""
        parts = [f"Regimes in the limit of infinite width ({self.setting}), exact: nothing is sampled."]
        if any(None not in b.sides and b.sides[0] != b.sides[1] for b in self.phases.borders):
            parts.append("Ticks of a border point to the area that it belongs to.")
        if self.phases.presets:
            parts.append("Stars: published parameterizations.")
        if self.points:
            seeds = counted(self.seeds, "seed")
            kinds = {True: "dots agree with theory", False: "crosses do not", None: "rings are undecided"}
            said = ", ".join(
                text for value, text in kinds.items() if value in {p.agrees for p in self.points}
            )
            parts.append(f"Measured with {seeds}: {said}.")
        return " ".join([*parts, self.meaning]).strip()

    def rows(self) -> Iterator[Mapping[str, object]]:
        """Corners of areas, ends of borders, presets and measured points, with exact coordinates."""
        x, y = (free.kind for free in self.phases.free)
        for number, area in enumerate(self.phases.areas):
            for ring in (area.outline, *area.holes):
                for at in ring:
                    yield {
                        "kind": f"area {number}",
                        x: str(at[0]),
                        y: str(at[1]),
                        "name": phase_name(area.label),
                    }
        for number, border in enumerate(self.phases.borders):
            for at in (border.start, border.end):
                yield {
                    "kind": f"border {number}",
                    x: str(at[0]),
                    y: str(at[1]),
                    "name": phase_name(border.label),
                }
        for marked in self.phases.presets:
            yield {"kind": "preset", x: str(marked.at[0]), y: str(marked.at[1]), "name": marked.name}
        for point in self.points:
            verdict = {True: "agrees", False: "disagrees", None: "undecided"}[point.agrees]
            place = {x: str(point.at[0]), y: str(point.at[1])}
            yield {"kind": "measured", **place, "name": point.name, "verdict": verdict}

    def _draw(self, target: Target) -> AnyFigure:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        x, y = self.phases.free
        depth = self.phases.parameterization.hidden_layers
        page = layout.sheet(
            target,
            [self.setting],
            1,
            height=_HEIGHT,
            margins=layout.Margins(left=0.38, bottom=0.22, top=0.05),
            x_label=_axis(x.kind, x.layers, depth, first_step=x.first_step),
            y_label=_axis(y.kind, y.layers, depth, first_step=y.first_step),
        )
        draw_phases(page.panels[0], self.phases, self.points, page.size)
        return page.figure


def _axis(kind: str, layers: Sequence[int], depth: int, *, first_step: bool) -> str:
    when = " at step 0" if first_step else ""
    if len(layers) == 1:
        return f"${kind}_{{{layers[0] + 1}}}$ ({_role(layers[0], depth)} matrix){when}"
    every = (
        "all matrices" if len(layers) == depth + 1 else f"hidden matrices {layers[0] + 1}..{layers[-1] + 1}"
    )
    return f"${kind}$ ({every}){when}"


def _role(layer: int, depth: int) -> str:
    return "first" if layer == 0 else "last" if layer == depth else "hidden"
