"""Lines of inquiry, the parts of a study. Each has runs and cells, and proposes the next runs.

A question becomes one or more lines; the planner (`ipcore.studies.planner`) asks each for its state and pays
for the steps that the budget allows. A line is a pure function of the results, so asking again changes
nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ipcore import theory
from ipcore.catalogue.widths import INFINITE_WIDTH, width_of
from ipcore.studies.decision import Cell, Reason, Request
from ipcore.studies.results import Metric, Outcome, Results, Run
from ipcore.studies.subjects import RunCost


@dataclass(frozen=True, slots=True)
class Trainee:
    """The settings that the runs of a line share: all but width, rate and seed.

    Attributes:
        name: Key of `Results.runs`.
        exponents: Exponents that are trained.
        activation: Name in the catalogue.
        calibrated: Whether first rates are calibrated.
        steps: Updates that are needed.
    """

    name: str
    exponents: theory.Parameterization
    activation: str
    calibrated: bool
    steps: int

    def request(
        self, width: int, rates: tuple[float, ...], seeds: tuple[int, ...], *, deferred: bool = False
    ) -> Request:
        """Runs of these networks at a width, with every rate and seed."""
        return Request(
            self.name,
            self.exponents,
            self.activation,
            self.calibrated,
            width,
            rates,
            seeds,
            self.steps,
            deferred=deferred,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """Runs that bring a line one step further.

    Attributes:
        requests: None of them measured yet.
        why: Their purpose in words.
    """

    requests: tuple[Request, ...]
    why: str

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(len(request.rates) * len(request.seeds) for request in self.requests)


@dataclass(frozen=True, slots=True)
class State:
    """State of a line.

    Attributes:
        cells: In order; open ones have a `Need`.
        steps: Possible next steps, the best first; the planner takes the first that the budget allows. () if
            it is decided, or nothing helps.
        reason: Why nothing helps, if nothing does.
        why: The same in words.
    """

    cells: tuple[Cell, ...]
    steps: tuple[Step, ...] = ()
    reason: Reason | None = None
    why: str = ""


class Line(Protocol):
    """A part of a study with runs of its own."""

    @property
    def subject(self) -> str:
        """The subject whose answer its cells belong to."""
        ...

    @property
    def cell_count(self) -> int:
        """Number of comparisons with predictions, for the error rate."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that its runs must record."""
        ...

    def state(self, ledger: Ledger, cells: int) -> State:
        """The state of the line.

        Args:
            ledger: The measurements.
            cells: K, numbers in the whole study.
        """
        ...

    def least(self) -> tuple[Request, ...]:
        """The fewest runs after which it may be decided."""
        ...


@dataclass(frozen=True)
class Ledger:
    """Results with costs of runs.

    Attributes:
        results: The measurements.
        run_cost: Cost of a run before one was measured.
        error_rate: Error rate of the study.
        whole: Updates of a whole run, to which `run_cost` refers.
    """

    results: Results
    run_cost: RunCost | None
    error_rate: float
    whole: int

    @property
    def runs(self) -> Mapping[Run, Outcome]:
        """All that have ended."""
        return self.results.runs

    def missing(self, requests: Iterable[Request]) -> tuple[Request, ...]:
        """The requests without runs that have ended, each still a grid."""
        found: list[Request] = []
        for request in requests:
            by_seeds: dict[tuple[int, ...], list[float]] = {}
            for rate in request.rates:
                seeds = tuple(
                    seed
                    for seed in request.seeds
                    if Run(request.subject, request.width, rate, seed) not in self.runs
                )
                if seeds:
                    by_seeds.setdefault(seeds, []).append(rate)
            found += [replace(request, rates=tuple(rates), seeds=seeds) for seeds, rates in by_seeds.items()]
        return tuple(found)

    def failed(self, requests: Iterable[Request]) -> str:
        """Why a run of these could not be trained; "" if none failed."""
        for request in requests:
            for run in request.runs():
                outcome = self.runs.get(run)
                if outcome is not None and outcome.failed:
                    width = width_of(run.width)
                    return f"run {run.seed} at width {width} and rate {run.rate:g} failed: {outcome.failed}"
        return ""

    def cost(self, requests: Sequence[Request]) -> float | None:
        """Core-seconds of requests; None: unknown.

        Measured costs of the same trainee replace estimates. Of wider networks than were measured, what their
        training takes beyond that of the measured ones is estimated.
        """
        total = 0.0
        for request in requests:
            each = self._each(request)
            if each is None:
                return None
            total += each * len(request.rates) * len(request.seeds)
        return total

    def _each(self, request: Request) -> float | None:
        share = request.steps / self.whole
        costs = self._costs.get(request.subject)
        if costs is not None and request.width in costs:
            return costs[request.width]
        costs = {width: cost for width, cost in (costs or {}).items() if width != INFINITE_WIDTH}
        if request.width == INFINITE_WIDTH or request.deferred or not costs:
            if self.run_cost is None:
                return None
            return self.run_cost.at(request.width, deferred=request.deferred) * share
        # Networks in place of infinite width are never the nearest: they are far wider than all others.
        near = min(costs, key=lambda width: abs(width - request.width))
        if self.run_cost is None or request.width <= near:
            return costs[near] * (request.width / near) ** 2
        # A narrow network costs little beside its share of a worker's start and of what other programs take,
        # which does not grow with the width: only training does.
        return costs[near] + share * (self.run_cost.at(request.width) - self.run_cost.at(near))

    @functools.cached_property
    def _costs(self) -> dict[str, dict[int, float]]:
        """Mean core-seconds of measured runs by trainee and width."""
        known: dict[str, dict[int, list[float]]] = {}
        for run, outcome in self.runs.items():
            if outcome.core_seconds is not None:
                known.setdefault(run.subject, {}).setdefault(run.width, []).append(outcome.core_seconds)
        return {
            name: {width: sum(costs) / len(costs) for width, costs in by_width.items()}
            for name, by_width in known.items()
        }
