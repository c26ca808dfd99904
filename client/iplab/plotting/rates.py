"""Loss against the base learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipcore.figures import AtRate, PictureError, RateCurve, RateCurves, RatePanel, Role, mean
from ipcore.figures.reports.laws import sentences_of
from ipcore.figures.reports.names import subject_names
from iplab.plotting.groups import Groups, arrange, sorted_by, within
from iplab.results.settings import Settings
from iplab.results.states import RunState

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.report import Check
    from iplab.results.run import Run

_MIN_WIDTHS = 3


def rate_curves(experiment: Experiment, by: Sequence[str], filter: str) -> RateCurves:
    """The final test loss against the base rate, a curve per width unless asked for others.

    Raises:
        PictureError: No run has ended, or there is only one base rate.
    """
    runs = [run for run in experiment.runs(filter) if _ended(run)]
    settings = {run.index: Settings.of(run) for run in runs}
    if len({one.base_learning_rate for one in settings.values()}) < 2:
        raise PictureError(
            f"{experiment.id} has ended runs at fewer than two base learning rates; give the grid more"
        )
    widths = {one.width for one in settings.values()}
    lines = tuple(by) or (("width",) if len(widths) > 1 else ())
    groups = arrange(settings.values(), lines, ("base_learning_rate",))
    known = {run.index: run for run in runs}
    panels: dict[str, dict[str, list[Run]]] = {}
    for index in sorted_by(settings, (*groups.panels, *groups.lines)):
        one = settings[index]
        panels.setdefault(groups.panel(one), {}).setdefault(groups.line(one), []).append(known[index])
    optima = _optima(experiment) if groups.lines == ("width",) and not filter else {}
    drawn = [
        RatePanel(title, tuple(_curve(name, group, optima, groups) for name, group in curves.items()))
        for title, curves in panels.items()
    ]
    shown, left_out = within(drawn, "groups of runs")
    of = f" ({groups.shared})" if groups.shared else ""
    meaning = f"{_of_drifts(list(dict.fromkeys(optima.values())))} {left_out}"
    return RateCurves(
        "final test loss",
        tuple(shown),
        groups.columns,
        f"Test loss of the final weights against the base rate{of}",
        _fewest(runs),
        meaning.strip(),
        ordered=groups.role is Role.ORDERED,
    )


def _of_drifts(checks: Sequence[Check]) -> str:
    """The report's conclusions on the best rates of at most two groups of runs, for the caption."""
    names, _ = subject_names(check.subject for check in checks)
    return " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in sentences_of(checks, names))


def _ended(run: Run) -> bool:
    return run.state is RunState.DIVERGED or run.final_test_loss is not None


def _optima(experiment: Experiment) -> dict[tuple[str, int, str, float], Check]:
    """The report's check of the rate transfer, by parameterization, depth, activation and width."""
    if len(experiment.spec.grid.widths) < _MIN_WIDTHS:
        return {}
    found: dict[tuple[str, int, str, float], Check] = {}
    for check in experiment.check().checks:
        if check.kind == "RATE_TRANSFER":
            subject = check.subject
            for width in check.widths:
                found[subject.parameterization, subject.hidden_layers, subject.activation, width] = check
    return found


def _curve(
    name: str, runs: Sequence[Run], optima: dict[tuple[str, int, str, float], Check], groups: Groups
) -> RateCurve:
    rates: dict[float, list[Run]] = {}
    for run in runs:
        rates.setdefault(run.base_learning_rate, []).append(run)
    points = tuple(_point(rate, rates[rate]) for rate in sorted(rates))
    known = [point for point in points if point.value is not None]
    limit = groups.role_of(Settings.of(runs[0])) is Role.LIMIT
    if not known:
        return RateCurve(name, points, limit=limit)
    least = min(known, key=lambda point: point.value or math.inf)
    edge = least.rate in (points[0].rate, points[-1].rate) and len(points) > 1
    one = runs[0]
    check = optima.get((one.parameterization, one.hidden_layers, one.activation, one.width))
    if check is None or edge:
        return RateCurve(name, points, least.rate, edge=edge, limit=limit)
    place = check.widths.index(one.width)
    return RateCurve(name, points, check.values[place], check.lows[place], check.highs[place])


def _point(rate: float, runs: Sequence[Run]) -> AtRate:
    diverged = sum(run.state is RunState.DIVERGED for run in runs)
    losses = [run.final_test_loss for run in runs if run.final_test_loss is not None]
    if diverged or not losses:
        return AtRate(rate, None, diverged=diverged)
    found = mean(losses, geometric=min(losses) > 0)
    return AtRate(rate, found.value, *found.band)


def _fewest(runs: Sequence[Run]) -> int:
    counts: dict[tuple[object, ...], int] = {}
    for run in runs:
        one = Settings.of(run)
        key = one.parameterization, one.hidden_layers, one.width, one.activation, one.base_learning_rate
        counts[key] = counts.get(key, 0) + 1
    return min(counts.values())
