"""Runs on a grid of base rates: what is measured at a rate, and the best rate of every seed.

Point k of the grid is the base rate 2^(k/2) times the first guess (`ipcore.studies.bracket`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from ipcore.analysis.optimum import vertex
from ipcore.studies.bracket import Bracket, Point, Window, bracket, window
from ipcore.studies.decision import Request
from ipcore.studies.line import Ledger, Trainee
from ipcore.studies.results import FINAL_LOSS, FIRST_LOSS, Metric, Outcome, Run

BRACKET_SEEDS: Final = (0, 1)
"""Seeds that bracket the best rate."""
_OFF: Final = 0.25


@dataclass(frozen=True, slots=True)
class RateGrid:
    """The runs of one kind of network.

    Attributes:
        trainee: The networks that are trained.
        rate: First guess at the smallest width.
        widths: m, ascending.
    """

    trainee: Trainee
    rate: float
    widths: tuple[int, ...]

    def rate_at(self, point: int) -> float:
        """The base rate of a point of the grid."""
        return float(self.rate * 2.0 ** (point / 2))

    def span(self, points: Iterable[int]) -> str:
        """The base rates of points, in words."""
        rates = sorted(self.rate_at(point) for point in points)
        return f"{rates[0]:.3g}" if len(rates) == 1 else f"{rates[0]:.3g}..{rates[-1]:.3g}"

    def request(self, width: int, points: Iterable[int], seeds: tuple[int, ...]) -> Request:
        """Runs at points of the grid."""
        return self.trainee.request(width, tuple(self.rate_at(point) for point in sorted(points)), seeds)

    def bracket(self, ledger: Ledger, width: int, start: int) -> Bracket:
        """The bracket of a width's best rate, from a first guess on."""
        return bracket(functools.partial(self._point, ledger, width), start)

    def wanted(self, ledger: Ledger, centres: Sequence[int], seeds: Iterable[int]) -> tuple[Request, ...]:
        """Runs of windows that are not complete; a failed run is among them, so that it is seen."""
        found = []
        for width, centre in zip(self.widths, centres, strict=True):
            alike: dict[tuple[int, ...], list[int]] = {}
            for seed in seeds:
                points = self._window(ledger, width, centre, seed).wanted
                if points:
                    alike.setdefault(points, []).append(seed)
            found += [self.request(width, points, tuple(own)) for points, own in alike.items()]
        return tuple(found)

    def stuck(self, ledger: Ledger, centres: Sequence[int], seeds: Iterable[int]) -> str | None:
        """A sentence if some seed diverges at every rate of its window."""
        for width, centre in zip(self.widths, centres, strict=True):
            for seed in seeds:
                found = self._window(ledger, width, centre, seed)
                if not found.wanted and not found.complete:
                    return f"seed {seed} diverges at all rates near the best one at width {width}"
        return None

    def optima(self, ledger: Ledger, centres: Sequence[int], seed: int) -> tuple[float, ...] | None:
        """u* in octaves above the first guess, by width; None where a window is not complete."""
        found = []
        for width, centre in zip(self.widths, centres, strict=True):
            own = self._window(ledger, width, centre, seed)
            if not own.complete:
                return None
            logs = [
                _log(ledger.runs[self._run(width, point, seed)], FINAL_LOSS, math.nan) for point in own.points
            ]
            found.append(vertex([point / 2 for point in own.points], logs))
        return tuple(found)

    def recentred(self, ledger: Ledger, centres: Sequence[int], seeds: Iterable[int]) -> list[int]:
        """Centres of windows, at the median optimum of these seeds where that is over 1/4 octave off."""
        rows = [self.optima(ledger, centres, seed) for seed in seeds]
        moved = []
        for i, centre in enumerate(centres):
            middle = median(row[i] for row in rows if row is not None)
            moved.append(round(2 * middle) if abs(middle - centre / 2) > _OFF else centre)
        return moved

    def _point(self, ledger: Ledger, width: int, point: int) -> Point | None:
        outcomes = [ledger.runs.get(self._run(width, point, seed)) for seed in BRACKET_SEEDS]
        known = [outcome for outcome in outcomes if outcome is not None and not outcome.failed]
        if len(known) < len(BRACKET_SEEDS):
            return None
        untrained = [_log(outcome, FIRST_LOSS, math.inf) for outcome in known]
        losses = [_log(outcome, FINAL_LOSS, first) for outcome, first in zip(known, untrained, strict=True)]
        first = sum(untrained) / len(untrained)
        return Point(sum(losses) / len(losses), first, all(_diverged(outcome) for outcome in known))

    def _window(self, ledger: Ledger, width: int, centre: int, seed: int) -> Window:
        def diverged(point: int) -> bool | None:
            outcome = ledger.runs.get(self._run(width, point, seed))
            return None if outcome is None or outcome.failed else _diverged(outcome)

        return window(diverged, centre)

    def _run(self, width: int, point: int, seed: int) -> Run:
        return Run(self.trainee.name, width, self.rate_at(point), seed)


def _diverged(outcome: Outcome) -> bool:
    return outcome.diverged or not math.isfinite(_log(outcome, FINAL_LOSS, math.nan))


def _log(outcome: Outcome, metric: Metric, otherwise: float) -> float:
    value = outcome.values.get(metric)
    if outcome.diverged and metric == FINAL_LOSS:
        return otherwise
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return otherwise
    return math.log(value)
