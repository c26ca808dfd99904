"""Ladders: slopes over widths. More seeds or wider networks, whichever decides at lower cost.

A ladder trains one kind of network or several at widths that double from one to the next, at one base rate
(`ipcore.studies.design`). *Moving* doubles all widths, which makes terms of the next order, m^(-1/2), smaller
by a factor of 1.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ipcore.catalogue.widths import width_of
from ipcore.studies.cells import cell_of
from ipcore.studies.decision import Cell, Need, Reason, Request, Verdict
from ipcore.studies.design import Design, Look
from ipcore.studies.line import Ledger, State, Step
from ipcore.studies.looks import LOOKS, WINDOWS, error_per_look
from ipcore.studies.measures.judged import Judged, Measure
from ipcore.studies.predictions import Band
from ipcore.studies.results import Metric

_FIRST_AFTER_MOVE: Final = 6
_MOST_DIVERGED: Final = 0.05
_AHEAD: Final = 2


@dataclass(frozen=True, slots=True)
class Rung:
    """One number of a ladder.

    Attributes:
        name: "h^2 at step 0".
        measure: Function of a ledger that returns its measure.
        band: Prediction.
        tolerance: tau.
        metrics: Metrics that it needs of every run.
        layer: l; 0: none.
        step: Updates done.
        reads: The smallest width that it always needs, however the widths move; None: the present ones do.
    """

    name: str
    measure: Callable[[Ledger], Measure]
    band: Band
    tolerance: float
    metrics: tuple[Metric, ...]
    layer: int = 0
    step: int = 0
    reads: int | None = None


@dataclass(frozen=True, slots=True)
class Ladder:
    """See the module.

    Attributes:
        subject: Subject of the answer.
        design: Its runs.
        rungs: In order of importance.
        max_width: The widest network.
        ordered: Once a cell disagrees, later cells do not matter.
    """

    subject: str
    design: Design
    rungs: tuple[Rung, ...]
    max_width: int
    ordered: bool = False

    @property
    def cell_count(self) -> int:
        """Rungs."""
        return len(self.rungs)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of all rungs."""
        return tuple(dict.fromkeys(metric for rung in self.rungs for metric in rung.metrics))

    def least(self) -> tuple[Request, ...]:
        """The first look."""
        return self.design.requests(Look(0, LOOKS[0]))

    def state(self, ledger: Ledger, cells: int) -> State:
        """See `Line`."""
        look = self._reached(ledger)
        if look is None:
            return self._start(ledger, Look(0, LOOKS[0]))
        judged = self._judge(ledger, look, cells)
        wanted = self._wanted(judged)
        found = self._cells(ledger, look, judged, wanted, cells)
        if not wanted:
            return State(found)
        hopeful = [judged[i] for i in wanted if not judged[i].hopeless]
        if not hopeful:
            first = judged[wanted[0]]
            if first.diverged:
                return State(found, reason=Reason.DIVERGED, why=first.why)
            return State(found, reason=Reason.LIMIT, why=f"{self.rungs[wanted[0]].name}: {first.why}")
        return self._further(ledger, look, found, self._candidates(ledger, look, hopeful, cells))

    def _further(
        self, ledger: Ledger, look: Look, cells: tuple[Cell, ...], candidates: Sequence[Look]
    ) -> State:
        """One step per candidate that can still be trained, or why there is none."""
        steps, failures = [], []
        for candidate in candidates:
            requests = self.design.requests(candidate)
            if failed := ledger.failed(requests):
                failures.append(failed)
            else:
                steps.append(Step(ledger.missing(requests), self._why(look, candidate)))
        if steps:
            return State(cells, tuple(steps))
        if failures:
            return State(cells, reason=Reason.FAILED, why=failures[0])
        why = f"{look.seeds} seeds at widths up to {self.design.widths(look)[-1]} are as many as a study uses"
        return State(cells, reason=Reason.LIMIT, why=why)

    def _start(self, ledger: Ledger, first: Look) -> State:
        requests = self.design.requests(first)
        if failed := ledger.failed(requests):
            return State(self._open(), reason=Reason.FAILED, why=failed)
        widths = self.design.widths(first)
        why = f"the first look needs {first.seeds} seeds at widths {widths[0]}..{widths[-1]}"
        if self.design.times_wider:
            why += f", and at width {self.design.reference(first):,}, used in place of infinite width"
        return State(self._open(), (Step(ledger.missing(requests), why),))

    # Complete looks

    def _windows(self) -> range:
        kept = min((rung.reads for rung in self.rungs if rung.reads is not None), default=self.max_width)
        allowed = sum(
            self.design.first_widths[-1] << window <= self.max_width
            and self.design.first_widths[0] << window <= kept
            for window in range(len(WINDOWS))
        )
        return range(max(allowed, 1))

    def _reached(self, ledger: Ledger) -> Look | None:
        """The largest complete look of the last window that has one."""
        for window in reversed(self._windows()):
            for seeds in reversed(LOOKS):
                look = Look(window, seeds)
                if self.design.complete(ledger, look):
                    return look
        return None

    # Cells

    def _judge(self, ledger: Ledger, look: Look, cells: int) -> list[Judged]:
        error = error_per_look(ledger.error_rate, cells, look.window)
        widths, counts = self.design.widths(look), self.design.counts(look)
        found = []
        for rung, diverged in zip(self.rungs, self._diverged(ledger, look), strict=True):
            judged = rung.measure(ledger).judge(widths, counts, error)
            if diverged:
                judged = replace(
                    judged, verdict=Verdict.UNDECIDED, why=diverged, hopeless=True, diverged=True
                )
            found.append(judged)
        return found

    def _wanted(self, judged: Sequence[Judged]) -> list[int]:
        """Cells that are open and matter."""
        last = len(judged)
        if self.ordered:
            disagreeing = [i for i, one in enumerate(judged) if one.verdict is Verdict.DISAGREES]
            last = min(disagreeing, default=last)
        return [i for i, one in enumerate(judged[:last]) if one.verdict is Verdict.UNDECIDED]

    def _diverged(self, ledger: Ledger, look: Look) -> list[str]:
        """For each number a sentence if too many runs diverged before it was recorded."""
        found = [""] * len(self.rungs)
        for request in self.design.requests(look):
            runs = list(request.runs())
            lost = [outcome for outcome in (ledger.runs[run] for run in runs) if outcome.diverged]
            if len(lost) <= _MOST_DIVERGED * len(runs):
                continue
            for i, rung in enumerate(self.rungs):
                without = sum(any(metric not in one.values for metric in rung.metrics) for one in lost)
                if not found[i] and without > _MOST_DIVERGED * len(runs):
                    found[i] = (
                        f"{without} of {len(runs)} runs of {request.subject} diverge at width "
                        f"{width_of(request.width)} and base rate {request.rates[0]:g}; lower the rate"
                    )
        return found

    def _cells(
        self, ledger: Ledger, look: Look, judged: Sequence[Judged], wanted: Sequence[int], cells: int
    ) -> tuple[Cell, ...]:
        found = []
        for i, (rung, one) in enumerate(zip(self.rungs, judged, strict=True)):
            need = self._need(ledger, look, one, cells) if i in wanted and not one.hopeless else None
            found.append(self._cell(rung, one, look, need))
        return tuple(found)

    def _cell(self, rung: Rung, one: Judged, look: Look | None, need: Need | None) -> Cell:
        return cell_of(
            self.subject,
            rung.name,
            rung.band,
            tolerance=rung.tolerance,
            verdict=one.verdict,
            interval=one.interval,
            widths=() if look is None else self.design.widths(look),
            seeds=0 if look is None else look.seeds,
            need=need,
            why=one.why,
            layer=rung.layer,
            step=rung.step,
            unit=one.unit,
        )

    def _open(self) -> tuple[Cell, ...]:
        return tuple(self._cell(rung, Judged.nothing(), None, None) for rung in self.rungs)

    # Next steps

    def _candidates(
        self, ledger: Ledger, look: Look, judged: Sequence[Judged], cells: int
    ) -> tuple[Look, ...]:
        """The cheaper of staying and moving for all open cells together, then the smallest step."""
        stay, move = self._stay(look, judged, ledger, cells), self._move(look, judged, ledger, cells)
        looks: list[Look] = []
        if stay is not None and (
            move is None or self.design.price(ledger, look, stay) <= self.design.price(ledger, look, move)
        ):
            looks.append(Look(look.window, _at_most_ahead(look.seeds, stay.seeds)))
        elif move is not None:
            looks.append(Look(move.window, min(move.seeds, _FIRST_AFTER_MOVE)))
        if following := [seeds for seeds in LOOKS if seeds > look.seeds]:
            looks.append(Look(look.window, following[0]))
        elif look.window + 1 in self._windows():
            looks.append(Look(look.window + 1, LOOKS[0]))
        return tuple(dict.fromkeys(looks))

    def _why(self, look: Look, wanted: Look) -> str:
        widths = self.design.widths(wanted)
        if wanted.window == look.window:
            return f"{wanted.seeds} seeds shorten the intervals most for their cost"
        return f"wider networks ({widths[0]}..{widths[-1]}) have a smaller bias, for less than more seeds"

    def _stay(self, look: Look, judged: Sequence[Judged], ledger: Ledger, cells: int) -> Look | None:
        """The look of this window at which all cells will be decided, as far as is known now."""
        error = error_per_look(ledger.error_rate, cells, look.window)
        needed = [_enough(one, one.gap, look.seeds, error, look.seeds + 1) for one in judged]
        return None if None in needed else Look(look.window, max(n for n in needed if n is not None))

    def _move(self, look: Look, judged: Sequence[Judged], ledger: Ledger, cells: int) -> Look | None:
        """The same for widths twice as large."""
        window = look.window + 1
        if window not in self._windows():
            return None
        error = error_per_look(ledger.error_rate, cells, window)
        needed = [_enough(one, one.wider_gap, look.seeds, error, 0) for one in judged]
        return None if None in needed else Look(window, max(n for n in needed if n is not None))

    def _need(self, ledger: Ledger, look: Look, one: Judged, cells: int) -> Need:
        options = [self._stay(look, [one], ledger, cells), self._move(look, [one], ledger, cells)]
        known = [option for option in options if option is not None]
        tolerance = one.enough
        if not known:
            return Need(None, self.design.widths(look), None, None, tolerance)
        best = min(known, key=lambda option: self.design.price(ledger, look, option))
        requests = ledger.missing(self.design.requests(best))
        runs = sum(len(request.seeds) for request in requests)
        return Need(best.seeds, self.design.widths(best), runs, ledger.cost(requests), tolerance)


def _enough(one: Judged, gap: float, seeds: int, error: float, least: int) -> int | None:
    """The first look of at least so many seeds whose interval is shorter than the gap."""
    if not gap > 0 or not math.isfinite(one.contrast.se):
        return None
    for n in LOOKS:
        if n >= least and one.contrast.half(error, n / seeds) < gap:
            return n
    return None


def _at_most_ahead(seeds: int, wanted: int) -> int:
    """Not more than two looks at once."""
    return min(wanted, LOOKS[min(LOOKS.index(seeds) + _AHEAD, len(LOOKS) - 1)])
