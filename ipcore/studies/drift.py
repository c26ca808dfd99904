"""The drift of the best rate: a bracket per width, windows of rates per seed, looks at 4, 6, 9, ... seeds.

Widths are never doubled. Every seed has an optimum at every width (`ipcore.analysis.optimum`); its drift
needs neither a model of the noise nor a bound on terms of the next order. Without a bracket there is no
drift.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from ipcore.analysis.optimum import drift, vertex
from ipcore.analysis.welch import Contrast
from ipcore.studies.bracket import STRIDE, WINDOW, Bracket, Point, Window, bracket, window
from ipcore.studies.decision import Cell, Interval, Need, Reason, Request, Verdict
from ipcore.studies.line import Ledger, State, Step, Trainee
from ipcore.studies.looks import LOOKS, error_per_look
from ipcore.studies.measures.drifts import gap_of, judge_drift, tolerance_of
from ipcore.studies.predictions import Band
from ipcore.studies.results import FINAL_LOSS, FIRST_LOSS, Metric, Outcome, Run
from ipcore.studies.sentences import cell_sentence

_SEEDS: Final = (0, 1)
_OFF: Final = 0.25
_AHEAD: Final = 2
_NAME: Final = "drift of the best rate"


@dataclass(frozen=True, slots=True)
class Drift:
    """See the module.

    Attributes:
        subject: Subject of the answer.
        trainee: The networks that are trained.
        rate: First guess at the smallest width.
        band: Predicted drift, octaves per doubling.
        tolerance: tau.
        widths: m, ascending.
    """

    subject: str
    trainee: Trainee
    rate: float
    band: Band
    tolerance: float
    widths: tuple[int, ...]

    @property
    def cell_count(self) -> int:
        """One number."""
        return 1

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The final loss, and the first, which a run that diverged counts as."""
        return (FINAL_LOSS, FIRST_LOSS)

    def rate_at(self, point: int) -> float:
        """The base rate of a point of the grid."""
        return float(self.rate * 2.0 ** (point / 2))

    def least(self) -> tuple[Request, ...]:
        """A bracket per width that moves nowhere, and windows of four seeds around it."""
        points = sorted({-STRIDE, STRIDE, *WINDOW})
        bracketed = (self._request(width, points, _SEEDS) for width in self.widths)
        others = tuple(range(len(_SEEDS), LOOKS[0]))
        return (*bracketed, *(self._request(width, WINDOW, others) for width in self.widths))

    def state(self, ledger: Ledger, cells: int) -> State:
        """See `Line`."""
        first = {self.widths[0]: self._bracket(ledger, self.widths[0], 0)}
        if (start := first[self.widths[0]].centre) is None:
            return self._bracketing(ledger, first)
        others = {width: self._bracket(ledger, width, self._start(width, start)) for width in self.widths[1:]}
        centres = [start, *(found.centre for found in others.values() if found.centre is not None)]
        if len(centres) < len(self.widths):
            return self._bracketing(ledger, others)
        return self._looking(ledger, centres, cells)

    # The bracket

    def _bracket(self, ledger: Ledger, width: int, start: int) -> Bracket:
        return bracket(functools.partial(self._point, ledger, width), start)

    def _start(self, width: int, centre: int) -> int:
        """The start of a width's bracket: the smallest width's best rate, moved as theory predicts.

        Only runs are saved by a good start: a bracket moves until the best rate lies inside.
        """
        low, high = self.band.low, self.band.high
        drift = 0.0 if low is None or high is None else float(low + high) / 2
        return centre + round(2 * drift * math.log2(width / self.widths[0]))

    def _point(self, ledger: Ledger, width: int, point: int) -> Point | None:
        outcomes = [ledger.runs.get(self._run(width, point, seed)) for seed in _SEEDS]
        known = [outcome for outcome in outcomes if outcome is not None and not outcome.failed]
        if len(known) < len(_SEEDS):
            return None
        untrained = [_log(outcome, FIRST_LOSS, math.inf) for outcome in known]
        losses = [_log(outcome, FINAL_LOSS, first) for outcome, first in zip(known, untrained, strict=True)]
        first = sum(untrained) / len(untrained)
        return Point(sum(losses) / len(losses), first, all(_diverged(outcome) for outcome in known))

    def _bracketing(self, ledger: Ledger, brackets: Mapping[int, Bracket]) -> State:
        """The runs that all widths without a bracket need next."""
        wanted = {width: found.wanted for width, found in brackets.items() if found.centre is None}
        if lost := [width for width, points in wanted.items() if not points]:
            why = f"no base rate within 20 octaves of {self.rate:g} trains best at width {lost[0]}"
            return State((self._unmeasured(why),), reason=Reason.LIMIT, why=why)
        requests = tuple(self._request(width, points, _SEEDS) for width, points in wanted.items())
        if failed := ledger.failed(requests):
            return State((self._unmeasured(failed),), reason=Reason.FAILED, why=failed)
        sought = "; ".join(f"{self._span(points)} at width {width}" for width, points in wanted.items())
        step = Step(ledger.missing(requests), f"the best rate of {self.subject} is sought at {sought}")
        return State((self._unmeasured("the best rate is not bracketed yet"),), (step,))

    def _span(self, points: Iterable[int]) -> str:
        rates = sorted(self.rate_at(point) for point in points)
        return f"{rates[0]:.3g}" if len(rates) == 1 else f"{rates[0]:.3g}..{rates[-1]:.3g}"

    # Looks

    def _looking(self, ledger: Ledger, centres: list[int], cells: int) -> State:
        start = self._wanted(ledger, centres, range(LOOKS[0]))
        if start:
            return self._want(ledger, (self._bracketed(centres),), [(LOOKS[0], start)])
        if (stuck := self._stuck(ledger, centres, range(LOOKS[0]))) is not None:
            return State((self._unmeasured(stuck),), reason=Reason.DIVERGED, why=stuck)
        centres = self._recentred(ledger, centres)
        reached, optima = 0, {}
        for seed in range(LOOKS[-1]):
            found = self._optima(ledger, centres, seed)
            if found is None:
                break
            optima[seed] = found
            if seed + 1 in LOOKS:
                reached = seed + 1
        if not reached:
            again = self._wanted(ledger, centres, range(LOOKS[0]))
            stuck = self._stuck(ledger, centres, range(LOOKS[0]))
            if not again and stuck is not None:
                return State((self._unmeasured(stuck),), reason=Reason.DIVERGED, why=stuck)
            return self._want(ledger, (self._bracketed(centres),), [(LOOKS[0], again)])
        found_drift = drift(self.widths, {seed: optima[seed] for seed in range(reached)})
        return self._judged(ledger, centres, found_drift, reached, cells)

    def _judged(self, ledger: Ledger, centres: list[int], found: Contrast, seeds: int, cells: int) -> State:
        error = error_per_look(ledger.error_rate, cells, 0)
        verdict = judge_drift(found, self.band, self.tolerance, error)
        wanted = None if verdict is not Verdict.UNDECIDED else self._enough(found, seeds, error)
        low, high = found.bounds(error)
        need = None
        if verdict is Verdict.UNDECIDED:
            enough = tolerance_of(found, self.band, error)
            if wanted is None:
                need = Need(None, self.widths, None, None, enough)
            else:
                requests = self._window_requests(ledger, centres, range(wanted))
                count = sum(len(request.rates) * len(request.seeds) for request in requests)
                need = Need(wanted, self.widths, count, ledger.cost(requests), enough)
        cell = self._cell(verdict, Interval(found.value, low, high), seeds, need)
        if verdict is not Verdict.UNDECIDED:
            return State((cell,))
        following = [n for n in LOOKS if n > seeds]
        if not following:
            why = f"{seeds} seeds are as many as a study uses"
            return State((cell,), reason=Reason.LIMIT, why=why)
        ahead = min(wanted or following[0], following[min(_AHEAD, len(following)) - 1])
        looks = dict.fromkeys((ahead, following[0]))
        return self._want(
            ledger, (cell,), [(n, self._wanted(ledger, centres, range(n))) for n in looks], centres
        )

    def _want(
        self,
        ledger: Ledger,
        cells: tuple[Cell, ...],
        looks: list[tuple[int, tuple[Request, ...]]],
        centres: list[int] | None = None,
    ) -> State:
        steps, failures = [], []
        for seeds, requests in looks:
            if failed := ledger.failed(requests):
                failures.append(failed)
                continue
            missing = ledger.missing(requests)
            if missing:
                steps.append(Step(missing, f"{seeds} seeds shorten the interval of the drift"))
            elif centres is not None and (stuck := self._stuck(ledger, centres, range(seeds))) is not None:
                return State(cells, reason=Reason.DIVERGED, why=stuck)
        if steps:
            return State(cells, tuple(steps))
        return State(cells, reason=Reason.FAILED, why=failures[0] if failures else "runs have no result")

    def _enough(self, found: Contrast, seeds: int, error: float) -> int | None:
        """The first further look that will decide if the estimate stays as it is."""
        gap = gap_of(found.value, self.band, self.tolerance)
        for n in LOOKS:
            if n > seeds and found.half(error, n / seeds) < gap:
                return n
        return None

    # Windows

    def _window(self, ledger: Ledger, width: int, centre: int, seed: int) -> Window:
        def diverged(point: int) -> bool | None:
            outcome = ledger.runs.get(self._run(width, point, seed))
            return None if outcome is None or outcome.failed else _diverged(outcome)

        return window(diverged, centre)

    def _wanted(self, ledger: Ledger, centres: list[int], seeds: Iterable[int]) -> tuple[Request, ...]:
        """Runs of windows that are not complete; a failed run is among them, so that it is seen."""
        found = []
        for width, centre in zip(self.widths, centres, strict=True):
            alike: dict[tuple[int, ...], list[int]] = {}
            for seed in seeds:
                points = self._window(ledger, width, centre, seed).wanted
                if points:
                    alike.setdefault(points, []).append(seed)
            found += [self._request(width, points, tuple(own)) for points, own in alike.items()]
        return tuple(found)

    def _window_requests(self, ledger: Ledger, centres: list[int], seeds: range) -> tuple[Request, ...]:
        return ledger.missing(self._wanted(ledger, centres, seeds))

    def _stuck(self, ledger: Ledger, centres: list[int], seeds: Iterable[int]) -> str | None:
        """A sentence if some seed diverges at every rate of its window."""
        for width, centre in zip(self.widths, centres, strict=True):
            for seed in seeds:
                found = self._window(ledger, width, centre, seed)
                if not found.wanted and not found.complete:
                    return f"seed {seed} diverges at all rates near the best one at width {width}"
        return None

    def _optima(self, ledger: Ledger, centres: list[int], seed: int) -> tuple[float, ...] | None:
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

    def _recentred(self, ledger: Ledger, centres: list[int]) -> list[int]:
        """Windows moved, once, to the median optimum of the first look where it is over 1/4 octave off."""
        rows = [self._optima(ledger, centres, seed) for seed in range(LOOKS[0])]
        moved = []
        for i, centre in enumerate(centres):
            middle = median(row[i] for row in rows if row is not None)
            moved.append(round(2 * middle) if abs(middle - centre / 2) > _OFF else centre)
        return moved

    # Values

    def _run(self, width: int, point: int, seed: int) -> Run:
        return Run(self.trainee.name, width, self.rate_at(point), seed)

    def _request(self, width: int, points: Iterable[int], seeds: tuple[int, ...]) -> Request:
        return Request(
            self.trainee.name,
            self.trainee.exponents,
            self.trainee.activation,
            self.trainee.calibrated,
            width,
            tuple(self.rate_at(point) for point in sorted(points)),
            seeds,
            self.trainee.steps,
        )

    def _unmeasured(self, why: str) -> Cell:
        return self._cell(Verdict.UNDECIDED, Interval(), 0, None, why)

    def _bracketed(self, centres: Iterable[int]) -> Cell:
        """Present knowledge before the first look is complete."""
        near = ", ".join(
            f"{self.rate_at(centre):.3g} at width {width}"
            for width, centre in zip(self.widths, centres, strict=True)
        )
        return self._unmeasured(
            f"the best rate lies near {near} for the first seeds; an interval needs {LOOKS[0]} at every width"
        )

    def _cell(
        self, verdict: Verdict, interval: Interval, seeds: int, need: Need | None, why: str = ""
    ) -> Cell:
        low, high = self.band.low, self.band.high
        cell = Cell(
            subject=self.subject,
            name=_NAME,
            verdict=verdict,
            interval=interval,
            predicted_low=None if low is None else float(low),
            predicted_high=None if high is None else float(high),
            tolerance=self.tolerance,
            widths=self.widths,
            seeds=seeds,
            sentence="",
            why=why or self.band.why,
            need=need,
            unit="octaves per doubling",
        )
        return replace(cell, sentence=cell_sentence(cell))


def _diverged(outcome: Outcome) -> bool:
    return outcome.diverged or not math.isfinite(_log(outcome, FINAL_LOSS, math.nan))


def _log(outcome: Outcome, metric: Metric, otherwise: float) -> float:
    value = outcome.values.get(metric)
    if outcome.diverged and metric == FINAL_LOSS:
        return otherwise
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return otherwise
    return math.log(value)
