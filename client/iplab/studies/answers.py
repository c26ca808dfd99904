"""The answer of a study: numbers with predictions, rounds, cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from iplab.results.states import StudyVerdict


@dataclass(frozen=True, slots=True)
class Need:
    """What would decide an undecided cell.

    Attributes:
        seeds: Number of seeds; None: more than a study may use.
        widths: Widths.
        runs: Further runs.
        core_seconds: Work of these runs on one core.
        tolerance: Tolerance with which the present data would decide it.
    """

    seeds: int | None
    widths: tuple[int, ...]
    runs: int | None
    core_seconds: float | None
    tolerance: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """Comparison of one number with one prediction.

    Attributes:
        name: Name of the number: "h^2 at step 0", "drift of the best rate".
        value: The estimate; None before there is one.
        low: Lower end of its interval, valid simultaneously for all cells and looks of the study; or None.
        high: Upper end.
        predicted_low: Lower end of what theory predicts; None: no lower bound.
        predicted_high: Upper end. Without both there is no prediction.
        tolerance: Largest distance from the prediction that still counts as agreement.
        widths: Widths measured, ascending.
        seeds: Number of complete seeds.
        sentence: The finding in one sentence.
        why: Why it is undecided, or why theory makes no prediction.
        layer: Layer, from 1; 0: not about one layer.
        step: Updates done.
        unit: "slope", "octaves per doubling", "accuracy", "distance", "relative distance" or "width".
        need: What would decide it; None if this is not known.
    """

    name: str
    verdict: StudyVerdict
    value: float | None
    low: float | None
    high: float | None
    predicted_low: float | None
    predicted_high: float | None
    tolerance: float
    widths: tuple[int, ...]
    seeds: int
    sentence: str
    why: str
    layer: int
    step: int
    unit: str
    need: Need | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A study's findings on one subject.

    Attributes:
        subject: For example "ip-llr (relu, 3 hidden layers)".
        verdict: The present verdict.
        sentence: The finding in words, with number, interval, cost and theory's prediction.
        cells: Comparisons of one number with one prediction each.
    """

    subject: str
    verdict: StudyVerdict
    sentence: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Runs that were submitted together.

    Attributes:
        number: 1, 2, 3, ...
        why: Purpose of the round.
        runs: Number of runs.
        experiments: Names of the experiments that it created or extended.
        learned: Findings on each subject after it; () until it has ended.
        create_time: When it was planned (UTC).
    """

    number: int
    why: str
    runs: int
    experiments: tuple[str, ...]
    learned: tuple[str, ...]
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of a study so far.

    Attributes:
        runs: Runs that have ended.
        asked_runs: Runs that it has submitted.
        core_seconds: Work on one core, of the rounds that have ended.
        wall_seconds: From its acceptance to its end, or to the last read.
    """

    runs: int
    asked_runs: int
    core_seconds: float
    wall_seconds: float


def interval_text(cell: Cell) -> str:
    """An estimate as "0.03 (-0.15 .. 0.20)"; "" before there is one."""
    if cell.value is None:
        return ""
    form = ",.0f" if cell.unit == "width" else ".2f"
    low = "-inf" if cell.low is None else f"{cell.low:{form}}"
    high = "inf" if cell.high is None else f"{cell.high:{form}}"
    return f"{cell.value:{form}} ({low} .. {high})"


def prediction_text(cell: Cell) -> str:
    """A prediction as "0", "0 .. 1" or "at most 1"; "" if there is none."""
    low, high = cell.predicted_low, cell.predicted_high
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {high:.3g}"
    if high is None:
        return f"at least {low:.3g}"
    return f"{low:.3g}" if low == high else f"{low:.3g} .. {high:.3g}"


def spent_text(spent: Spent) -> str:
    """A cost as "206 runs, 9 core-seconds, 12 s"."""
    return f"{spent.runs} runs, {spent.core_seconds:.0f} core-seconds, {spent.wall_seconds:.0f} s"
