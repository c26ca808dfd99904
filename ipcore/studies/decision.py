"""Answers of the planner: decided, the next runs, or out of budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ipcore import theory
from ipcore.studies.results import Metric, Run


class Verdict(StrEnum):
    """Verdict of a study on a prediction."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    NO_PREDICTION = "no prediction"  # measured to the tolerance; theory makes no prediction
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """Why a study ends without a decision."""

    BUDGET = "budget"  # the next round cannot be paid
    LIMIT = "limit"  # as many seeds and as wide networks as a study uses
    DIVERGED = "diverged"  # too many runs diverge
    FAILED = "failed"  # runs that could not be trained


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with a lower and an upper bound.

    All lower bounds of a study, at every look and in every cell, hold together with a probability of at least
    1 less the error rate, and so do all upper bounds.

    Attributes:
        value: The estimate; NaN before there is one.
        low: -inf before there is one.
        high: inf before there is one.
    """

    value: float = math.nan
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of runs.

    Attributes:
        runs: How many.
        core_seconds: None: unknown (`Question.run_cost`).
        wall_seconds: With the cores of the question; None: unknown.
        by_width: Runs by width, ascending.
    """

    runs: int
    core_seconds: float | None
    wall_seconds: float | None
    by_width: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Need:
    """The runs that would decide an open cell.

    Attributes:
        seeds: Number of seeds; None: more than a study uses.
        widths: At these widths.
        runs: Further runs.
        core_seconds: Their cost; None: unknown.
        tolerance: With this tolerance the present data would do.
    """

    seeds: int | None
    widths: tuple[int, ...]
    runs: int | None
    core_seconds: float | None
    tolerance: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One number against one prediction.

    Attributes:
        subject: `str(Subject)`.
        name: "h^2 at step 0", "isolated update of layer 3", "drift of the best rate".
        verdict: The present verdict.
        interval: The present interval.
        predicted_low: Lower end of what theory predicts; None: no prediction, or no lower bound.
        predicted_high: Upper end.
        tolerance: tau.
        widths: m, ascending.
        seeds: Complete ones (of the largest width).
        sentence: The finding in one sentence.
        why: Why it is open, or why theory makes no prediction; "".
        need: The runs that would decide it; None if it is decided or if nothing is known.
        layer: l, 1..L+1; 0 where no layer is meant.
        step: Updates done.
        unit: Unit of the interval: "slope", "octaves per doubling", "accuracy", "distance", "relative
            distance", "width".
    """

    subject: str
    name: str
    verdict: Verdict
    interval: Interval
    predicted_low: float | None
    predicted_high: float | None
    tolerance: float
    widths: tuple[int, ...]
    seeds: int
    sentence: str
    why: str = ""
    need: Need | None = None
    layer: int = 0
    step: int = 0
    unit: str = "slope"

    @property
    def decided(self) -> bool:
        """Whether it is settled."""
        return self.verdict is not Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer on one subject.

    Attributes:
        subject: `str(Subject)`.
        verdict: Disagrees if a cell does and all before it are decided; undecided if any cell is; agrees if
            all cells with a prediction do; no prediction if none has one.
        sentence: With number, interval, what was spent and what theory predicted.
        cells: In order.
    """

    subject: str
    verdict: Verdict
    sentence: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Runs that are wanted: all pairs of these rates and seeds at one width.

    Attributes:
        subject: Name; key of `Results.runs`.
        exponents: Exponents to train.
        activation: Name in the catalogue.
        calibrated: Whether first rates are calibrated.
        width: m.
        rates: Base learning rates.
        seeds: From 0 on.
        steps: Updates that are needed; fewer than those of a whole run if the first ones suffice.
        deferred: Whether weights are deferred (`ipcore.limits`), in place of infinite width.
    """

    subject: str
    exponents: theory.Parameterization
    activation: str
    calibrated: bool
    width: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: int
    deferred: bool = False

    def runs(self) -> Iterator[Run]:
        """Each run, by rate and then by seed."""
        for rate in self.rates:
            for seed in self.seeds:
                yield Run(self.subject, self.width, rate, seed)


@dataclass(frozen=True, slots=True)
class RunNext:
    """More runs are needed.

    Attributes:
        requests: Runs that `Results` does not have. No run is in two of them.
        metrics: Metrics that each of them must record.
        why: One sentence.
        answers: Answers so far.
        core_seconds: Estimated cost of the runs; None: unknown.
    """

    requests: tuple[Request, ...]
    metrics: tuple[Metric, ...]
    why: str
    answers: tuple[Answer, ...] = ()
    core_seconds: float | None = None

    def runs(self) -> Iterator[Run]:
        """Each run that is wanted, once."""
        for request in self.requests:
            yield from request.runs()


@dataclass(frozen=True, slots=True)
class Decided:
    """The question is answered.

    Attributes:
        verdict: Disagrees if any subject does, agrees if all do, else no prediction.
        sentence: The answer in one sentence per subject.
        answers: One per subject (per pair, where subjects are compared).
    """

    verdict: Verdict
    sentence: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class OutOfBudget:
    """The question cannot be answered within the budget, or not by more runs of this kind.

    Attributes:
        reason: Why.
        sentence: The finding so far, and what a decision would take.
        answers: As far as known; open cells have a `Need`.
    """

    reason: Reason
    sentence: str
    answers: tuple[Answer, ...]


Decision = Decided | RunNext | OutOfBudget
