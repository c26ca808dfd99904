"""Pictures of studies: the losses behind a drift of the best rate, or all numbers with their intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from ipcore.figures import AtRate, Picture, RateCurve, RateCurves, RatePanel, Role
from ipcore.figures.cells import Group, Intervals, Row
from ipcore.figures.intervals import FEWEST_IN_BAND, mean
from ipcore.figures.powers import Law, LawPanel, PowerLaws, Size
from iplab.errors import InvalidRequestError
from iplab.results.states import StudyVerdict

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run
    from iplab.studies.answers import Answer, Cell
    from iplab.studies.study import Study

_UNITS: Final = {
    "slope": "exponent of the width",
    "octaves per doubling": "octaves of the best rate per doubling of the width",
    "accuracy": "difference of test accuracies",
    "distance": "distance",
}
_COLUMNS: Final = 3
_Floats = npt.NDArray[np.float64]
# A larger m* is not drawn: the line hardly falls.
_WIDEST: Final = 1e6
# Losses by subject, width and rate; None for a run that diverged.
_Losses = dict[str, dict[float, dict[float, list[float | None]]]]


class NothingToDraw(ValueError):
    """The study has measured nothing yet."""


def picture_of(study: Study) -> Picture:
    """The study's picture as data (`ipcore.figures`).

    Raises:
        NothingToDraw: It has measured nothing yet.
    """
    makers = {"rate-transfer": rate_picture, "infinite-width": distance_picture}
    return makers.get(study.question, interval_picture)(study)


def distance_picture(study: Study) -> PowerLaws:
    """Distances from infinite width over the width, a line per subject; the tolerance in black.

    Raises NothingToDraw.
    """
    found = {answer.subject: _sizes(study, answer) for answer in study.answers}
    laws = [
        Law(subject, sizes, slope=_slope(sizes), theory=Fraction(-1, 2), role=Role.GROUP)
        for subject, sizes in found.items()
        if sizes
    ]
    if not laws:
        raise NothingToDraw("no network has ended together with its limit yet")
    cells = [cell for answer in study.answers for cell in answer.cells]
    enough = cells[0].tolerance
    needed = [cell.value for cell in cells if cell.unit == "width" and cell.value is not None]
    # Up to the next power of two, so that the axis has usual widths.
    beyond = {2 ** math.ceil(math.log2(width)) for width in needed if width < _WIDEST}
    widths = sorted({size.width for law in laws for size in law.sizes} | beyond)
    target = Law(f"{100 * enough:g} %", tuple(Size(width, enough) for width in widths), role=Role.LIMIT)
    return PowerLaws(
        quantity="relative distance of the outputs on the test set",
        panels=(LawPanel("", (*laws, target)),),
        columns=1,
        measured=f"Distance of the outputs on the test set of {study.spec.base.dataset} from those of "
        f"infinite width after {study.spec.base.steps} updates",
        seeds=min(cell.seeds for cell in cells),
        meaning=study.sentence,
        means="root mean squares",
    )


def _slope(sizes: tuple[Size, ...]) -> float | None:
    """Slope of the least-squares line through the logarithms."""
    x, y = (np.log([getattr(size, name) for size in sizes]) for name in ("width", "value"))
    return float(np.polyfit(x, y, 1)[0]) if len(sizes) > 1 else None


def _sizes(study: Study, answer: Answer) -> tuple[Size, ...]:
    """The distance D at every width where networks and limits of two seeds have ended (`docs/probes.md`)."""
    sketches: dict[float, dict[int, _Floats]] = defaultdict(dict)
    paired: dict[float, list[_Floats]] = defaultdict(list)
    own: dict[int, float] = {}
    for experiment in study.trained():
        runs = [run for run in experiment.runs() if _subject(run) == answer.subject and run.state.terminal]
        recorded = _sketches(experiment, "output_sketch", study.spec.base.steps) if runs else {}
        beside = _sketches(experiment, "paired_sketch", study.spec.base.steps) if runs else {}
        for run in runs:
            if run.index in beside:
                paired[run.width].append(beside[run.index])
            if run.index in recorded:
                sketches[run.width][run.seed] = recorded[run.index]
                if math.isinf(run.width):
                    own[run.seed] = (run.final_limit_error or 0.0) ** 2 * float(recorded[run.index][0])
    if paired:
        return tuple(
            Size(width, math.sqrt(sum((one[1:] ** 2).sum() for one in rows) / sum(one[0] for one in rows)))
            for width, rows in sorted(paired.items())
            if len(rows) >= 2
        )
    limits = sketches.pop(math.inf, None)
    if limits is None:
        limits, own = _stand_in(sketches, max(answer.cells[0].widths, default=0))
    found = []
    for width, by_seed in sorted(sketches.items()):
        both = by_seed.keys() & limits.keys()
        off = sum(float(((by_seed[seed] - limits[seed])[1:] ** 2).sum()) - own[seed] for seed in both)
        if len(both) >= 2 and off > 0:
            unit = sum(float(limits[seed][0]) - own[seed] for seed in both)
            found.append(Size(width, math.sqrt(off / unit)))
    return tuple(found)


def _stand_in(
    sketches: dict[float, dict[int, _Floats]], most: int
) -> tuple[dict[int, _Floats], dict[int, float]]:
    """Replacement for the limit of networks up to a width, and its own squared error, by seed.

    The widest networks replace it; networks that did so in earlier rounds are left out (`docs/limits.md`).
    """
    reference = max(sketches, default=0.0)
    limits = sketches.pop(reference, {})
    for width in [width for width in sketches if width > most]:
        del sketches[width]
    both = sketches.get(most, {}).keys() & limits.keys()
    if len(both) < 2 or reference <= most:
        return {}, {}
    off = np.stack([(sketches[most][seed] - limits[seed])[1:] for seed in both])
    own = float(off.var(axis=0, ddof=1).sum()) * most / (most + reference)
    return limits, dict.fromkeys(limits, own)


def _sketches(experiment: Experiment, metric: str, step: int) -> dict[int, _Floats]:
    """Mean square and sums of outputs at a step, by run, for runs that have recorded them."""
    try:
        points = experiment.metrics(names=[f"{metric}/*"], first_step=step, last_step=step)
    except InvalidRequestError:  # an older study recorded none
        return {}
    columns = np.array([int(name.partition("/")[2]) for name in points.names], np.int64)
    found: dict[int, _Floats] = {}
    for run, column, value in zip(points.run.tolist(), columns[points.metric], points.value, strict=True):
        found.setdefault(run, np.zeros(len(columns)))[column] = value
    return found


def interval_picture(study: Study) -> Intervals:
    """Every number with its interval and theory's prediction. Raises NothingToDraw."""
    groups = tuple(
        Group(answer.subject, rows) for answer in study.answers if (rows := tuple(_rows(answer.cells)))
    )
    if not groups:
        raise NothingToDraw("the study has measured nothing yet")
    units = dict.fromkeys(cell.unit for answer in study.answers for cell in answer.cells)
    cells = [cell for answer in study.answers for cell in answer.cells if cell.seeds]
    widths = sorted({width for cell in cells for width in cell.widths})
    seeds = f"{min(cell.seeds for cell in cells)} or more seeds" if cells else "seeds"
    return Intervals(
        quantity=", ".join(_UNITS.get(unit, unit) for unit in units),
        groups=groups,
        measured=f"Study {study.question} on {study.spec.base.dataset}, widths {_span(widths)}, {seeds}",
        meaning=study.sentence,
    )


def rate_picture(study: Study) -> RateCurves:
    """Final test losses over the base rate, a curve per width, a panel per subject.

    Raises:
        NothingToDraw: No run has ended.
    """
    losses = _losses(study)
    panels = tuple(
        RatePanel(subject, tuple(_curve(width, by_rate) for width, by_rate in sorted(by_width.items())))
        for subject, by_width in losses.items()
    )
    if not panels:
        raise NothingToDraw("no run has ended yet")
    by_rate = [rates for by_width in losses.values() for rates in by_width.values()]
    most = max(len(runs) for rates in by_rate for runs in rates.values())
    return RateCurves(
        quantity="final test loss",
        panels=panels,
        columns=min(_COLUMNS, len(panels)),
        measured=f"Final test loss on {study.spec.base.dataset} after {study.spec.base.steps} updates; rates "
        "tried by fewer than four seeds have no band",
        seeds=most,
        meaning=study.sentence,
    )


def _rows(cells: Iterable[Cell]) -> Iterable[Row]:
    for cell in cells:
        if cell.value is not None:
            yield Row(
                name=cell.name,
                value=cell.value,
                low=cell.low,
                high=cell.high,
                predicted_low=cell.predicted_low,
                predicted_high=cell.predicted_high,
                tolerance=cell.tolerance,
                verdict="no prediction" if cell.verdict is StudyVerdict.NO_PREDICTION else cell.verdict.words,
            )


def _losses(study: Study) -> _Losses:
    found: _Losses = {}
    for experiment in study.trained():
        for run in experiment.runs():
            if run.state.terminal:
                by_width = found.setdefault(_subject(run), {})
                by_rate = by_width.setdefault(run.width, defaultdict(list))
                by_rate[run.base_learning_rate].append(run.results["final_test_loss"])
    return found


def _subject(run: Run) -> str:
    layers = "1 hidden layer" if run.hidden_layers == 1 else f"{run.hidden_layers} hidden layers"
    return f"{run.parameterization} ({run.activation}, {layers})"


def _curve(width: float, by_rate: dict[float, list[float | None]]) -> RateCurve:
    points = tuple(_at(rate, losses) for rate, losses in sorted(by_rate.items()))
    known = [(point.value, point.rate) for point in points if point.value is not None]
    best = min(known)[1] if known else None
    edge = best in (points[0].rate, points[-1].rate)
    return RateCurve(f"m = {width}", points, best=best, edge=edge)


def _at(rate: float, losses: list[float | None]) -> AtRate:
    """The geometric mean over the seeds with its interval; no value if a seed diverged."""
    finite = [loss for loss in losses if loss is not None and loss > 0]
    diverged = len(losses) - len(finite)
    if diverged or not finite:
        return AtRate(rate, None, diverged=diverged)
    found = mean(finite, geometric=True)
    if found.count < FEWEST_IN_BAND:
        return AtRate(rate, found.value, found.value, found.value)
    return AtRate(rate, found.value, found.low, found.high)


def _span(widths: list[int]) -> str:
    return f"{widths[0]} to {widths[-1]}" if widths else "-"
