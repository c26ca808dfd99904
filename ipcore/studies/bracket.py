"""Rates of one width: the bracket around the best, and the window of rates of one seed.

Rates lie on a grid of half octaves: point k is 2^(k/2) times the first guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

STRIDE: Final = 4  # two octaves
FAR: Final = 8  # four octaves
WINDOW: Final = (-2, -1, 0, 1, 2)
MIN_FINITE: Final = 4
REACH: Final = 40  # twenty octaves from the first guess
_BELOW: Final = 16
_LEARNS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """A rate with the seeds of a bracket.

    Attributes:
        loss: Mean log loss; a run that diverged counts as untrained.
        untrained: Mean log loss before training.
        diverged: Whether every seed diverged.
    """

    loss: float
    untrained: float
    diverged: bool

    @property
    def learns(self) -> bool:
        """Whether the loss has fallen by more than noise."""
        return self.loss < self.untrained - _LEARNS


@dataclass(frozen=True, slots=True)
class Bracket:
    """Present knowledge of the best rate.

    Attributes:
        centre: The best point, with measured ones half an octave to both sides; None: not found yet.
        wanted: Points to measure next. () where the centre is None too: there is no best rate within reach.
    """

    centre: int | None
    wanted: tuple[int, ...]


def bracket(point: Callable[[int], Point | None], start: int) -> Bracket:
    """Find the best rate of one width.

    From the start and two octaves to both sides: while the best is at an end, two octaves further; where
    nothing learns, four octaves lower (higher if nothing diverges either). Then the gaps beside the best are
    filled at half an octave, an octave, ... from it, until its neighbours are half an octave away. Most of
    these points belong to the windows of all seeds (`window`), so asking for them at once saves rounds and
    costs no runs.

    Args:
        point: The measurement at a point; None: none yet.
        start: First guess.

    >>> bracket(lambda k: Point(float((k - 3) ** 2), 1e9, False), 0)
    Bracket(centre=3, wanted=())
    >>> bracket(lambda k: None, 0)
    Bracket(centre=None, wanted=(-4, 0, 4))
    """
    points = [start - STRIDE, start, start + STRIDE]
    while max(abs(k - start) for k in points) <= REACH:
        found = {k: point(k) for k in sorted(points)}
        if missing := tuple(k for k, one in found.items() if one is None):
            return Bracket(None, missing)
        known = {k: one for k, one in found.items() if one is not None}
        further = _further(known)
        if not further:
            return Bracket(min(known, key=lambda k: known[k].loss), ())
        points += further
    return Bracket(None, ())


def _further(points: dict[int, Point]) -> list[int]:
    """The next points; [] if the best is bracketed."""
    order = sorted(points)
    if not any(point.learns for point in points.values()):
        diverges = any(point.diverged for point in points.values())
        return [order[0] - FAR] if diverges else [order[-1] + FAR]
    best = min(order, key=lambda k: points[k].loss)
    if best == order[0]:
        return [best - STRIDE]
    if best == order[-1]:
        return [best + STRIDE]
    i = order.index(best)
    left, right = best - order[i - 1], order[i + 1] - best
    if left == right == 1:
        return []
    return [best + sign * step for sign, gap in ((-1, left), (1, right)) for step in _steps(gap)]


def _steps(gap: int) -> list[int]:
    """1, 2, 4, ... below the gap."""
    return [1 << k for k in range((gap - 1).bit_length())]


@dataclass(frozen=True, slots=True)
class Window:
    """The rates of one seed at one width.

    Attributes:
        points: Finite ones below the first that diverges, ascending; at least four if `complete`.
        wanted: Points to measure next.
        complete: Whether the optimum can be found. False where `wanted` is (): the seed diverges at all but
            fewer than four rates.
    """

    points: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether an optimum can be found."""
        return not self.wanted and len(self.points) >= MIN_FINITE


def window(diverged: Callable[[int], bool | None], centre: int) -> Window:
    """The rates that a seed has, and those that it needs.

    The centre and an octave to both sides: upward until it diverges, downward to four finite ones.

    Args:
        diverged: Whether the run at a point diverged; None: not measured yet.
        centre: Centre of the window.

    >>> window(lambda k: k > 0, 0)
    Window(points=(-3, -2, -1, 0), wanted=())
    >>> window(lambda k: None, 0)
    Window(points=(), wanted=(-2, -1, 0, 1, 2))
    """
    finite: list[int] = []
    wanted: list[int] = []
    for k in (centre + offset for offset in WINDOW):
        found = diverged(k)
        if found:
            break
        (wanted if found is None else finite).append(k)
    if wanted:
        return Window(tuple(finite), tuple(wanted))
    below = centre + WINDOW[0] - 1
    last = below - _BELOW
    while len(finite) + len(wanted) < MIN_FINITE and below > last:
        found = diverged(below)
        if found is None:
            wanted.append(below)
        elif not found:
            finite.append(below)
        below -= 1
    return Window(tuple(sorted(finite)), tuple(sorted(wanted)))
