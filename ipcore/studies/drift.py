"""The drift of the best rate: a bracket per width, windows of rates per seed, looks at 4, 6, 9, ... seeds.

Widths are never doubled. Every seed has an optimum at every width (`ipcore.analysis.optimum`); its drift
needs neither a model of the noise nor a bound on terms of the next order. Without a bracket there is no
drift.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ipcore.analysis.optimum import drift
from ipcore.analysis.welch import Contrast
from ipcore.studies.bracket import STRIDE, WINDOW, Bracket
from ipcore.studies.cells import cell_of
from ipcore.studies.decision import Cell, Interval, Need, Reason, Request, Verdict
from ipcore.studies.line import Ledger, State, Step
from ipcore.studies.looks import LOOKS, error_per_look
from ipcore.studies.measures.drifts import gap_of, judge_drift, tolerance_of
from ipcore.studies.predictions import Band
from ipcore.studies.rate_grid import BRACKET_SEEDS, RateGrid
from ipcore.studies.results import FINAL_LOSS, FIRST_LOSS, Metric

_AHEAD: Final = 2
_NAME: Final = "drift of the best rate"


@dataclass(frozen=True, slots=True)
class Drift:
    """See the module.

    Attributes:
        subject: Subject of the answer.
        grid: Its runs.
        band: Predicted drift, octaves per doubling.
        tolerance: tau.
    """

    subject: str
    grid: RateGrid
    band: Band
    tolerance: float

    @property
    def cell_count(self) -> int:
        """One number."""
        return 1

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The final loss, and the first, which a run that diverged counts as."""
        return (FINAL_LOSS, FIRST_LOSS)

    def least(self) -> tuple[Request, ...]:
        """A bracket per width that moves nowhere, and windows of four seeds around it."""
        points = sorted({-STRIDE, STRIDE, *WINDOW})
        bracketed = (self.grid.request(width, points, BRACKET_SEEDS) for width in self.grid.widths)
        others = tuple(range(len(BRACKET_SEEDS), LOOKS[0]))
        return (*bracketed, *(self.grid.request(width, WINDOW, others) for width in self.grid.widths))

    def state(self, ledger: Ledger, cells: int) -> State:
        """See `Line`."""
        first = {self.grid.widths[0]: self.grid.bracket(ledger, self.grid.widths[0], 0)}
        if (start := first[self.grid.widths[0]].centre) is None:
            return self._bracketing(ledger, first)
        others = {
            width: self.grid.bracket(ledger, width, self._start(width, start))
            for width in self.grid.widths[1:]
        }
        centres = [start, *(found.centre for found in others.values() if found.centre is not None)]
        if len(centres) < len(self.grid.widths):
            return self._bracketing(ledger, others)
        return self._looking(ledger, centres, cells)

    # The bracket

    def _start(self, width: int, centre: int) -> int:
        """The start of a width's bracket: the smallest width's best rate, moved as theory predicts.

        Only runs are saved by a good start: a bracket moves until the best rate lies inside.
        """
        low, high = self.band.low, self.band.high
        drift = 0.0 if low is None or high is None else float(low + high) / 2
        return centre + round(2 * drift * math.log2(width / self.grid.widths[0]))

    def _bracketing(self, ledger: Ledger, brackets: Mapping[int, Bracket]) -> State:
        """The runs that all widths without a bracket need next."""
        wanted = {width: found.wanted for width, found in brackets.items() if found.centre is None}
        if lost := [width for width, points in wanted.items() if not points]:
            why = f"no base rate within 20 octaves of {self.grid.rate:g} trains best at width {lost[0]}"
            return State((self._unmeasured(why),), reason=Reason.LIMIT, why=why)
        requests = tuple(self.grid.request(width, points, BRACKET_SEEDS) for width, points in wanted.items())
        if failed := ledger.failed(requests):
            return State((self._unmeasured(failed),), reason=Reason.FAILED, why=failed)
        sought = "; ".join(f"{self.grid.span(points)} at width {width}" for width, points in wanted.items())
        step = Step(ledger.missing(requests), f"the best rate of {self.subject} is sought at {sought}")
        return State((self._unmeasured("the best rate is not bracketed yet"),), (step,))

    # Looks

    def _looking(self, ledger: Ledger, centres: list[int], cells: int) -> State:
        start = self.grid.wanted(ledger, centres, range(LOOKS[0]))
        if start:
            return self._want(ledger, (self._bracketed(centres),), [(LOOKS[0], start)])
        if (stuck := self.grid.stuck(ledger, centres, range(LOOKS[0]))) is not None:
            return State((self._unmeasured(stuck),), reason=Reason.DIVERGED, why=stuck)
        centres = self.grid.recentred(ledger, centres, range(LOOKS[0]))
        reached, optima = 0, {}
        for seed in range(LOOKS[-1]):
            found = self.grid.optima(ledger, centres, seed)
            if found is None:
                break
            optima[seed] = found
            if seed + 1 in LOOKS:
                reached = seed + 1
        if not reached:
            again = self.grid.wanted(ledger, centres, range(LOOKS[0]))
            stuck = self.grid.stuck(ledger, centres, range(LOOKS[0]))
            if not again and stuck is not None:
                return State((self._unmeasured(stuck),), reason=Reason.DIVERGED, why=stuck)
            return self._want(ledger, (self._bracketed(centres),), [(LOOKS[0], again)])
        found_drift = drift(self.grid.widths, {seed: optima[seed] for seed in range(reached)})
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
                need = Need(None, self.grid.widths, None, None, enough)
            else:
                requests = ledger.missing(self.grid.wanted(ledger, centres, range(wanted)))
                count = sum(len(request.rates) * len(request.seeds) for request in requests)
                need = Need(wanted, self.grid.widths, count, ledger.cost(requests), enough)
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
            ledger, (cell,), [(n, self.grid.wanted(ledger, centres, range(n))) for n in looks], centres
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
            elif (
                centres is not None and (stuck := self.grid.stuck(ledger, centres, range(seeds))) is not None
            ):
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

    # Values

    def _unmeasured(self, why: str) -> Cell:
        return self._cell(Verdict.UNDECIDED, Interval(), 0, None, why)

    def _bracketed(self, centres: Iterable[int]) -> Cell:
        """Present knowledge before the first look is complete."""
        near = ", ".join(
            f"{self.grid.rate_at(centre):.3g} at width {width}"
            for width, centre in zip(self.grid.widths, centres, strict=True)
        )
        return self._unmeasured(
            f"the best rate lies near {near} for the first seeds; an interval needs {LOOKS[0]} at every width"
        )

    def _cell(
        self, verdict: Verdict, interval: Interval, seeds: int, need: Need | None, why: str = ""
    ) -> Cell:
        return cell_of(
            self.subject,
            _NAME,
            self.band,
            tolerance=self.tolerance,
            verdict=verdict,
            interval=interval,
            widths=self.grid.widths,
            seeds=seeds,
            need=need,
            why=why,
            unit="octaves per doubling",
        )
