"""`phases`: the behaviour of a parameterization for all values of two of its exponents, as an exact map.

The calculus runs with the two exponents as unknowns (`ipcore.theory.plane`). All its quantities are affine in
them, and its only questions are which of two is larger. One run decides for all points with the same answers,
a convex set. Further runs at points outside of all sets follow until the rectangle is covered. Nothing is
sampled: every corner is exact, and a regime that holds only on a line or at a point is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, cast

from ipcore.theory.bounds import doubtful
from ipcore.theory.checks import check_integer
from ipcore.theory.coverage import checked
from ipcore.theory.diagram_text import diagram_text
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import as_exponent
from ipcore.theory.free import Free, Range, presets_in_plane, put, read_free, with_phases
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.plane.affine import Record, point
from ipcore.theory.plane.borders import Area, Border, Corner, Joined, Place, join
from ipcore.theory.plane.cells import divide
from ipcore.theory.plane.locate import label_at
from ipcore.theory.regime import FeatureMove, Regime, decide, enough_for
from ipcore.theory.rules import Rules
from ipcore.theory.trajectory import trajectory
from ipcore.theory.written import Written

MAX_PHASES_LAYERS: Final = 20
MAX_PHASES_WORK: Final = 2_000_000  # additions and comparisons: some twenty seconds
_MOVING: Final = (Regime.FEATURE_LEARNING, Regime.CONTROLLED_DIVERGENCE)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase: what a map distinguishes.

    Attributes:
        regime: The regime; None: not decided with the work that was allowed.
        layers: Hidden layers 1..L whose features move, in feature learning and controlled divergence.
    """

    regime: Regime | None
    layers: tuple[int, ...] = ()


UNDECIDED: Final = Phase(None)


@dataclass(frozen=True, slots=True)
class Marked:
    """A preset that lies in the plane, up to a gauge.

    Attributes:
        name: Its name.
        at: Where.
        phase: The phase there.
    """

    name: str
    at: Place
    phase: Phase


@dataclass(frozen=True, slots=True)
class Phases(Written):
    """A rectangle of two free exponents (x, y), each point of which has one phase.

    Attributes:
        parameterization: All other exponents; its values of the free ones do not matter.
        free: The free exponents x and y with their ranges.
        optimizer: Its optimizer.
        activation: Its activation.
        loss: Its loss.
        areas: Connected open sets of one phase, with exact corners.
        borders: Segments without their ends: between areas, and those on which another phase holds.
        corners: Ends of borders, and single points of another phase.
        presets: Those that lie in the rectangle.
    """

    parameterization: Parameterization
    free: tuple[Free, Free]
    optimizer: str
    activation: str
    loss: str
    areas: tuple[Area[Phase], ...]
    borders: tuple[Border[Phase], ...]
    corners: tuple[Corner[Phase], ...]
    presets: tuple[Marked, ...]

    def at(self, x: str | Fraction | int, y: str | Fraction | int) -> Phase:
        """The phase at a point of the rectangle.

        Raises:
            TheoryError: The point is not exact, or lies outside.
        """
        place = as_exponent(x, "x"), as_exponent(y, "y")
        found = label_at(Joined(self.areas, self.borders, self.corners), place)
        if found is None:
            ranges = " and ".join(f"{entry.name} {entry.low} .. {entry.high}" for entry in self.free)
            raise TheoryError(f"({place[0]}, {place[1]}) lies outside of {ranges}", "x")
        return found

    def parameterization_at(self, x: Fraction, y: Fraction) -> Parameterization:
        """The parameterization at a point."""
        return put(put(self.parameterization, self.free[0], x), self.free[1], y)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the map: a region that was not decided."""
        labels = [area.label for area in self.areas] + [border.label for border in self.borders]
        if UNDECIDED not in labels + [corner.label for corner in self.corners]:
            return ()
        return (
            "some of this map is not decided: it has more pieces than the work that is allowed. Take a "
            "smaller rectangle there, fewer hidden layers, or relu, whose updates are always aligned (the "
            "upper bound of other activations)",
        )

    def __str__(self) -> str:
        return diagram_text(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        return {
            "parameterization": self.parameterization.to_dict(),
            "hidden_layers": self.parameterization.hidden_layers,
            "optimizer": self.optimizer,
            "activation": self.activation,
            "loss": self.loss,
            "free": [{"name": f.name, "low": str(f.low), "high": str(f.high)} for f in self.free],
            "areas": [
                {
                    **_phase(area.label),
                    "outline": [_place(at) for at in area.outline],
                    "holes": [[_place(at) for at in hole] for hole in area.holes],
                }
                for area in self.areas
            ],
            "borders": [
                {
                    **_phase(border.label),
                    "start": _place(border.start),
                    "end": _place(border.end),
                    "left": None if border.sides[0] is None else _phase(border.sides[0]),
                    "right": None if border.sides[1] is None else _phase(border.sides[1]),
                }
                for border in self.borders
            ],
            "corners": [{**_phase(corner.label), "at": _place(corner.at)} for corner in self.corners],
            "notes": list(self.notes),
            "presets": [{"name": m.name, "at": _place(m.at), **_phase(m.phase)} for m in self.presets],
        }


def phases(
    parameterization: Parameterization,
    free: Mapping[str, Range],
    *,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    work: int | None = None,
) -> Phases:
    """The regimes for all values of two exponents.

    Args:
        parameterization: All other exponents; at most 20 hidden layers.
        free: Two names with (smallest, largest) value: "a_last", "b_hidden", "c_2", "c" (all layers the
            same), "c_first_step", ... (`ipcore.theory.free`). The first is x, the second y.
        optimizer: Key of `OPTIMIZERS`.
        activation: Name in `ACTIVATIONS`, or "relu^p" with an integer p.
        loss: Key of `LOSSES`.
        work: Additions and comparisons that it may take; None: `MAX_PHASES_WORK`, some twenty seconds. What
            they do not suffice for has the phase `UNDECIDED`: pieces are taken from the largest to the
            smallest, so it is small.

    Raises:
        TheoryError: As `analyze`; more than 20 hidden layers; a degree that is not an integer; free exponents
            that are not two, overlap, do not exist or have no effect; ranges that are empty or not exact.

    >>> from ipcore.theory.presets import preset
    >>> plane = phases(preset("mup", 3), {"b_last": ("-1/2", "1"), "c": ("-2", "1")})
    >>> plane.at(0, -1).regime.value, plane.at("-1/2", 0).regime.value, plane.at(0, "-1/2").regime.value
    ('feature_learning', 'kernel', 'trivial')
    """
    p, setting = checked(parameterization, optimizer, activation, loss)
    if p.hidden_layers > MAX_PHASES_LAYERS:
        raise TheoryError(
            f"a map of phases covers at most {MAX_PHASES_LAYERS} hidden layers, not {p.hidden_layers}; "
            "inequalities of deep networks follow a pattern in l that smaller depths show",
            "hidden_layers",
        )
    if setting.activation.degree.denominator != 1:
        raise TheoryError(
            f"maps are made for whole degrees, not {activation!r}: its sizes may approach limits without "
            "reaching them; ask `analyze` for single points",
            "activation",
        )
    if work is not None:
        check_integer(work, "work")
    x, y = read_free(p, free, setting.optimizer)
    p = with_phases(p, (x, y))

    def calculation(record: Record) -> Phase:
        # Unknowns take the place of fractions in all arithmetic of the calculus.
        values = cast("tuple[Fraction, Fraction]", record.free())
        regime, moves = _decided(put(put(p, x, values[0]), y, values[1]), setting)
        return Phase(regime, tuple(move.layer for move in moves) if regime in _MOVING else ())

    corners = [point(*at) for at in ((x.low, y.low), (x.high, y.low), (x.high, y.high), (x.low, y.high))]
    most = MAX_PHASES_WORK if work is None else work
    division = divide(corners, calculation, most=most, undecided=UNDECIDED)
    joined = join(division)
    places = presets_in_plane(p, (x, y), setting.optimizer)
    marked = tuple(Marked(name, at, division.label(point(*at))) for name, at in places.items())
    return Phases(
        p, (x, y), optimizer, activation, loss, joined.areas, joined.borders, joined.corners, marked
    )


def _decided(p: Parameterization, setting: Rules) -> tuple[Regime, tuple[FeatureMove, ...]]:
    """As `analyze` decides; the lower bound is iterated only as far as the regime of the upper one needs."""
    upper = trajectory(p, setting, aligned=True, steps=None, enough=lambda _: False)
    if not doubtful(p, setting):
        return decide(upper, upper, setting)
    enough = enough_for(upper, setting)
    if enough is None:
        return decide(upper, upper, setting)
    return decide(upper, trajectory(p, setting, aligned=False, steps=None, enough=enough), setting)


def _phase(phase: Phase) -> dict[str, Any]:
    return {"regime": None if phase.regime is None else phase.regime.value, "layers": list(phase.layers)}


def _place(at: Place) -> list[str]:
    return [str(at[0]), str(at[1])]
