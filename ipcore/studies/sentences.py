"""Answers in words: one sentence with a number, its interval, the cost, and the prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from ipcore import theory
from ipcore.analysis.widths import width_text
from ipcore.catalogue.widths import TIMES_WIDER
from ipcore.studies.decision import Cell, Need, Verdict
from ipcore.studies.question import FALL, InfiniteWidth, Question, RateTransfer
from ipcore.studies.results import Results
from ipcore.studies.words import confidence, duration, interval_text, number, percent, spent
from ipcore.words import counted


def predicted(cell: Cell) -> str:
    """The prediction, or "" if there is none."""
    low, high = cell.predicted_low, cell.predicted_high
    if low is not None and high is not None:
        return _exponent(low) if low == high else f"{_exponent(low)} .. {_exponent(high)}"
    if high is not None:
        return f"at most {_exponent(high)}"
    return "" if low is None else f"at least {_exponent(low)}"


def _exponent(value: float) -> str:
    return theory.format_exponent(Fraction(value).limit_denominator(1000))


def against(cell: Cell) -> str:
    """Relation of a number to its prediction, as the end of a sentence."""
    said, tolerance = predicted(cell), f"the tolerance {cell.tolerance:g}"
    if not said:
        return _without_prediction(cell)
    if cell.unit == "slope" and cell.tolerance == -FALL and cell.predicted_low != cell.predicted_high:
        falls = "falls" if cell.predicted_low is None else "does not fall"
        return f"{_trend(cell)}; theory says that it {falls}"
    if cell.verdict is Verdict.AGREES:
        return f"within {tolerance} of the predicted {said}"
    if cell.verdict is Verdict.DISAGREES:
        return f"outside of {tolerance} around the predicted {said}"
    return f"undecided against the predicted {said} with {tolerance}"


def _trend(cell: Cell) -> str:
    if cell.interval.high < FALL:
        return "so it falls with the width"
    return "so it does not fall with the width" if cell.interval.low > FALL else "so it may fall or not"


def _without_prediction(cell: Cell) -> str:
    if cell.unit == "distance":
        words = {Verdict.AGREES: "below", Verdict.DISAGREES: "above"}.get(
            cell.verdict, "not shown to be below"
        )
        return f"{words} {cell.tolerance:g}"
    trend = f"{_trend(cell)}; " if cell.unit == "slope" and cell.tolerance == -FALL else ""
    return f"{trend}theory makes no prediction" + (f" ({cell.why})" if cell.why else "")


def cell_sentence(cell: Cell) -> str:
    """A cell in one sentence."""
    if math.isnan(cell.interval.value):
        head = f"{cell.name}: not measured yet"
        return f"{head}; {cell.why}" if cell.why else head
    size = f"{cell.unit} {number(cell.interval.value)} {interval_text(cell.interval)}"
    where = f"widths {cell.widths[0]}..{cell.widths[-1]}, {counted(cell.seeds, 'seed')}"
    text = f"{cell.name} {cell.verdict}: {size}, {against(cell)}, {where}"
    return f"{text}; {cell.why}" if cell.why and predicted(cell) else text


def need_text(cells: Sequence[Cell]) -> str:
    """The cost of deciding open cells.

    It is that of the most expensive one, whose runs serve the others too.
    """
    needs = [(cell, cell.need) for cell in cells if cell.need is not None]
    if not needs:
        return ""
    named = len(needs) > 1
    known = [(cell, need) for cell, need in needs if need.runs is not None]
    parts = []
    if known:
        cell, need = max(known, key=lambda item: item[1].runs or 0)
        parts.append(f"it would take {_runs(need)}" + (f" for {cell.name}" if named else ""))
    if beyond := [cell.name for cell, need in needs if need.runs is None]:
        shown = ", ".join(beyond[:3]) + (f" and {len(beyond) - 3} more" if len(beyond) > 3 else "")
        parts.append(f"{shown}: more seeds than a study uses, as far as is known now")
    if tolerances := [need.tolerance for _, need in needs if _finite(need.tolerance)]:
        parts.append(f"a tolerance of {number(max(t for t in tolerances if t is not None))} would do now")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _runs(need: Need) -> str:
    cost = "" if need.core_seconds is None else f", {duration(need.core_seconds)}"
    where = f"widths {need.widths[0]}..{need.widths[-1]}" if need.widths else "these widths"
    seeds = f"{need.seeds} seeds at {where}" if need.seeds is not None else where
    return f"{counted(need.runs or 0, 'more run')}{cost} ({seeds})"


def answer_sentence(
    question: Question,
    subject: str,
    verdict: Verdict,
    cells: Sequence[Cell],
    results: Results,
    why: str,
) -> str:
    """The answer on one subject."""
    level = confidence(question.error_rate)
    if isinstance(question, RateTransfer):
        body = _transfer(cells[0], subject, level, why)
    elif isinstance(question, InfiniteWidth):
        body = _distance(question, cells, subject, level, why)
    else:
        body = _of_cells(question.kind, subject, verdict, cells, level)
    said = f"{body} {spent(len(results.runs), results.core_seconds)}"
    return f"{said} Undecided: {why}." if why and verdict is Verdict.UNDECIDED else said


def _transfer(cell: Cell, subject: str, level: str, why: str) -> str:
    """The drift of the best rate in octaves; before it is measured, what is known unless `why` has it."""
    if math.isnan(cell.interval.value):
        known = f": {cell.why}" if cell.why and not why else ""
        return f"The drift of the best rate of {subject} is not measured{known}."
    moved = (
        f"The best rate of {subject} moves by {number(cell.interval.value)} octaves per doubling of the "
        f"width {interval_text(cell.interval, level)}"
    )
    inside = max(abs(cell.interval.low), abs(cell.interval.high)) < cell.tolerance
    outside = cell.interval.low > cell.tolerance or cell.interval.high < -cell.tolerance
    transfers = ": it transfers" if inside else ": it does not transfer" if outside else ""
    return f"{moved}, {against(cell)}{transfers}."


def _distance(question: InfiniteWidth, cells: Sequence[Cell], subject: str, level: str, why: str) -> str:
    """The distance at the largest width that was asked for, and m*."""
    distance, needed = cells
    if math.isnan(distance.interval.value):
        known = f": {distance.why}" if distance.why and not why else ""
        return f"The distance of {subject} from its infinite-width limit is not measured{known}."
    eps, off, star = percent(distance.tolerance), distance.interval, needed.interval
    whose = "those of infinite width"
    if subject in question.without_limit:
        reference = TIMES_WIDER * distance.widths[-1]
        whose = f"those of networks of width {reference:,}, used in place of infinite width"
    if subject in question.paired:
        whose = "those of kernel machines of infinite width that start from the networks' own f_0"
    said = (
        f"At width {question.first_widths[-1]:,} the outputs of {subject} on the test set are "
        f"{percent(off.value)} ({level}: {percent(off.low)} .. {percent(off.high)}) from {whose}"
    )
    if distance.why:
        said += f"; {distance.why}"
    if math.isinf(star.value):
        least = f"; m* is above {star.low:,.0f}" if star.low >= 1 else ""
        return f"{said}; no width is known at which it is {eps}, since it may not fall{least}."
    far = "" if needed.widths[0] <= star.value <= needed.widths[-1] else ", extrapolated"
    ends = f"{_width(star.low)} .. {_width(star.high)}"
    return f"{said}; {eps} is reached at about width m* = {_width(star.value)} ({level}: {ends}{far})."


def _width(width: float) -> str:
    """A needed width, at least 1."""
    return width_text(max(width, 1.0), 3)


def _of_cells(kind: str, subject: str, verdict: Verdict, cells: Sequence[Cell], level: str) -> str:
    """One cell in full: the first that disagrees, else the only one, else how many there are."""
    what = kind.replace("-", " ")
    first = next((cell for cell in cells if cell.verdict is Verdict.DISAGREES), None)
    if verdict is Verdict.DISAGREES and first is not None:
        where = f"Layer {first.layer} is wrong: " if kind == "coordinate-check" and first.layer else ""
        return f"{where or 'Not as predicted: '}{_measured(first, subject, level)}."
    if len(cells) == 1:
        return f"{_measured(cells[0], subject, level, capital=True)}."
    counts = {found: sum(cell.verdict is found for cell in cells) for found in Verdict}
    named = {
        Verdict.AGREES: ("agrees with theory", "agree with theory"),
        Verdict.NO_PREDICTION: ("is measured without a prediction", "are measured without a prediction"),
        Verdict.UNDECIDED: ("is undecided", "are undecided"),
        Verdict.DISAGREES: ("disagrees", "disagree"),
    }
    parts = [f"{counts[found]} {words[counts[found] > 1]}" for found, words in named.items() if counts[found]]
    total = f"The {what} of {subject}: of {len(cells)} numbers {', '.join(parts)}"
    furthest = _furthest(cells)
    return f"{total}{'; the furthest off: ' + _measured(furthest, '', level) if furthest else ''}."


def _furthest(cells: Sequence[Cell]) -> Cell | None:
    """The cell that lies furthest from its prediction, in units of its tolerance."""

    def off(cell: Cell) -> float:
        low = -math.inf if cell.predicted_low is None else cell.predicted_low
        high = math.inf if cell.predicted_high is None else cell.predicted_high
        return max(low - cell.interval.value, cell.interval.value - high) / cell.tolerance

    known = [
        cell
        for cell in cells
        if math.isfinite(cell.interval.value)
        and (cell.predicted_low is not None or cell.predicted_high is not None)
    ]
    return max(known, key=off, default=None)


def _measured(cell: Cell, subject: str, level: str, *, capital: bool = False) -> str:
    name = f"the {cell.name}" if subject or capital else cell.name
    name = name[0].upper() + name[1:] if capital else name
    owner = f" of {subject}" if subject else ""
    if math.isnan(cell.interval.value):
        return f"{name}{owner} is not measured"
    verb = {
        "slope": f"goes like m^{number(cell.interval.value)}",
        "exponent": f"lies at {number(cell.interval.value)}",
    }.get(cell.unit, f"is {number(cell.interval.value)}")
    return f"{name}{owner} {verb} {interval_text(cell.interval, level)}, {against(cell)}"
