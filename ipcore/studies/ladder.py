"""Ladders: slopes over widths. More seeds or wider networks, whichever decides at lower cost.

A ladder trains one kind of network or several at widths that double from one to the next, at one base rate.
At a look of n seeds the smallest width has 8 n runs, the next 2 n, the others n: the best split of costs that
grow like m^2 (40 % less variance for 3 % more cost). *Moving* doubles all widths, which makes terms of the
next order, m^(-1/2), smaller by a factor of 1.4; runs are reused. Only complete looks count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ipcore.catalogue.widths import INFINITE_WIDTH, width_of
from ipcore.studies.decision import Cell, Need, Reason, Request, Verdict
from ipcore.studies.line import Ledger, State, Step, Trainee
from ipcore.studies.looks import LOOKS, WINDOWS, error_per_look
from ipcore.studies.measures.judged import Judged, Measure
from ipcore.studies.predictions import Band
from ipcore.studies.results import Metric
from ipcore.studies.sentences import cell_sentence

_SHARES: Final = (8, 2)
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
class Look:
    """One look at the data: a number of seeds in one window of widths.

    Attributes:
        window: How often the widths have moved.
        seeds: n.
    """

    window: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """See the module.

    Attributes:
        subject: Subject of the answer.
        trainees: Networks that are trained at the same widths and seeds.
        rates: Base rate of each.
        rungs: In order of importance.
        widths: Widths at the start.
        max_width: The widest network.
        ordered: Once a cell disagrees, later cells do not matter.
        multiple: Runs that make one seed (2: pairs).
        shares: Runs per seed of a look at the smallest widths; one at all others.
        beside_limit: Whether every seed is trained at infinite width too.
        times_wider: Networks this many times wider than the widest of a look, with deferred weights, take
            the place of infinite width; 0: the limit is computed.
    """

    subject: str
    trainees: tuple[Trainee, ...]
    rates: tuple[float, ...]
    rungs: tuple[Rung, ...]
    widths: tuple[int, ...]
    max_width: int
    ordered: bool = False
    multiple: int = 1
    shares: tuple[int, ...] = _SHARES
    beside_limit: bool = False
    times_wider: int = 0

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
        return self._requests(Look(0, LOOKS[0]))

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
            requests = self._requests(candidate)
            if failed := ledger.failed(requests):
                failures.append(failed)
            else:
                steps.append(Step(ledger.missing(requests), self._why(look, candidate)))
        if steps:
            return State(cells, tuple(steps))
        if failures:
            return State(cells, reason=Reason.FAILED, why=failures[0])
        why = f"{look.seeds} seeds at widths up to {self._widths(look)[-1]} are as many as a study uses"
        return State(cells, reason=Reason.LIMIT, why=why)

    def _start(self, ledger: Ledger, first: Look) -> State:
        requests = self._requests(first)
        if failed := ledger.failed(requests):
            return State(self._open(), reason=Reason.FAILED, why=failed)
        widths = self._widths(first)
        why = f"the first look needs {first.seeds} seeds at widths {widths[0]}..{widths[-1]}"
        if self.times_wider:
            why += f", and at width {self._reference(first):,}, used in place of infinite width"
        return State(self._open(), (Step(ledger.missing(requests), why),))

    # Complete looks

    def _widths(self, look: Look) -> tuple[int, ...]:
        return tuple(width << look.window for width in self.widths)

    def _reference(self, look: Look) -> int:
        """The width of the networks that others are compared with."""
        return self._widths(look)[-1] * self.times_wider or INFINITE_WIDTH

    def _counts(self, look: Look) -> tuple[int, ...]:
        more = (*self.shares, *[1] * len(self.widths))
        return tuple(look.seeds * share for share in more[: len(self.widths)])

    def _requests(self, look: Look) -> tuple[Request, ...]:
        """All runs of a look, measured or not."""
        counts = dict(zip(self._widths(look), self._counts(look), strict=True))
        reference = self._reference(look)
        if self.beside_limit:
            counts[reference] = max(counts.values())
        return tuple(
            Request(
                trainee.name,
                trainee.exponents,
                trainee.activation,
                trainee.calibrated,
                width,
                (rate,),
                tuple(range(count * self.multiple)),
                trainee.steps,
                deferred=width == reference and self.times_wider > 0,
            )
            for width, count in counts.items()
            for trainee, rate in zip(self.trainees, self.rates, strict=True)
        )

    def _windows(self) -> range:
        kept = min((rung.reads for rung in self.rungs if rung.reads is not None), default=self.max_width)
        allowed = sum(
            self.widths[-1] << window <= self.max_width and self.widths[0] << window <= kept
            for window in range(len(WINDOWS))
        )
        return range(max(allowed, 1))

    def _reached(self, ledger: Ledger) -> Look | None:
        """The largest complete look of the last window that has one."""
        for window in reversed(self._windows()):
            for seeds in reversed(LOOKS):
                look = Look(window, seeds)
                if self._complete(ledger, look):
                    return look
        return None

    def _complete(self, ledger: Ledger, look: Look) -> bool:
        # From the widest network on, which has the fewest runs.
        for request in reversed(self._requests(look)):
            for run in request.runs():
                outcome = ledger.runs.get(run)
                if outcome is None or outcome.failed:
                    return False
        return True

    # Cells

    def _judge(self, ledger: Ledger, look: Look, cells: int) -> list[Judged]:
        error = error_per_look(ledger.error_rate, cells, look.window)
        widths, counts = self._widths(look), self._counts(look)
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
        for request in self._requests(look):
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
        low, high = rung.band.low, rung.band.high
        cell = Cell(
            subject=self.subject,
            name=rung.name,
            verdict=one.verdict,
            interval=one.interval,
            predicted_low=None if low is None else float(low),
            predicted_high=None if high is None else float(high),
            tolerance=rung.tolerance,
            widths=() if look is None else self._widths(look),
            seeds=0 if look is None else look.seeds,
            sentence="",
            why=one.why or rung.band.why,
            need=need,
            layer=rung.layer,
            step=rung.step,
            unit=one.unit,
        )
        return replace(cell, sentence=cell_sentence(cell))

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
            move is None or self._price(ledger, look, stay) <= self._price(ledger, look, move)
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
        widths = self._widths(wanted)
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

    def _price(self, ledger: Ledger, reached: Look, wanted: Look) -> float:
        """Cost of what a look needs beyond one that is complete, in units of m^2; with limits in seconds."""
        if self.beside_limit:
            return ledger.cost(ledger.missing(self._requests(wanted))) or 0.0
        have = dict(zip(self._widths(reached), self._counts(reached), strict=True))
        return sum(
            max(0, count - have.get(width, 0)) * float(width) ** 2
            for width, count in zip(self._widths(wanted), self._counts(wanted), strict=True)
        )

    def _need(self, ledger: Ledger, look: Look, one: Judged, cells: int) -> Need:
        options = [self._stay(look, [one], ledger, cells), self._move(look, [one], ledger, cells)]
        known = [option for option in options if option is not None]
        tolerance = one.enough
        if not known:
            return Need(None, self._widths(look), None, None, tolerance)
        best = min(known, key=lambda option: self._price(ledger, look, option))
        requests = ledger.missing(self._requests(best))
        runs = sum(len(request.seeds) for request in requests)
        return Need(best.seeds, self._widths(best), runs, ledger.cost(requests), tolerance)


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
