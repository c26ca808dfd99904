"""Learning curves, and quantities of layers over updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ipcore.figures import Course, CoursePanel, Courses, Moment, PictureError, Role, layer_name, mean
from iplab.plotting.groups import Groups, arrange, named, sorted_by, within
from iplab.results.settings import Settings, axis

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics

_QUANTITIES: Final = {
    "h": "mean |h|",
    "x": "mean |x|",
    "h_change": "mean |hₜ − h₀|",
    "x_change": "mean |xₜ − x₀|",
    "change_below": "change passed on from below",
    "change_own": "change by the layer's own updates",
    "dh": "mean |∂loss/∂h|",
    "gradient": "mean |∂loss/∂w|",
    "update": "mean |Wₜ − W₀|",
    "alignment_initial": "alignment of W₀ and its input",
    "alignment_update": "alignment of Wₜ − W₀ and its input",
    "update_stable_rank": "stable rank of Wₜ − W₀",
    "update_squared_trace_rank": "squared trace rank of Wₜ − W₀",
    "update_threshold_rank": "threshold rank of Wₜ − W₀",
    "x_stable_rank": "stable rank of xₜ",
    "x_squared_trace_rank": "squared trace rank of xₜ",
    "x_threshold_rank": "threshold rank of xₜ",
    "cka": "CKA of xₜ and x₀",
}
_LINEAR: Final = {"alignment_initial", "alignment_update", "cka"}


def curves(metrics: Metrics, metric: str | None, by: str | Sequence[str] | None) -> Courses:
    """See `Metrics.plot`."""
    groups = [axis(name) for name in ([by] if isinstance(by, str) else by or ())]
    if metric is None:
        if not metrics.names:
            raise PictureError("there are no points to draw yet")
        metric = metrics.names[0]
    quantity = metric.partition("/")[0]
    layers = "/" in metric or any(name.startswith(f"{metric}/") for name in metrics.names)
    return layer_courses(metrics, quantity, groups) if layers else learning_curves(metrics, metric, groups)


def learning_curves(metrics: Metrics, name: str, by: Sequence[str]) -> Courses:
    """A metric over updates: mean and interval over seeds, a line per group.

    Raises:
        PictureError: The metric has no points.
    """
    settings = _settings(metrics, name)
    rates, chosen = _best_rates(metrics, name, settings, by)
    kept = {run: one for run, one in settings.items() if run in rates}
    groups = arrange(kept.values(), by, ("base_learning_rate",) if chosen else ())
    panels = _panels(metrics, kept, groups, name)
    loss = name.endswith("loss")
    shown, left_out = within(panels, "groups of runs")
    words = name.replace("_", " ")
    of = f" ({groups.shared})" if groups.shared else ""
    best = " Each group at the base rate at which it ends best." if chosen else ""
    return Courses(
        words + (" (share of examples)" if name.endswith("accuracy") else ""),
        tuple(shown),
        groups.columns,
        f"{words[0].upper()}{words[1:]} over updates{of}",
        _seeds(kept),
        f"{_ends(metrics, name, kept, groups)}{best} {left_out}".strip(),
        logarithmic=loss,
    )


def layer_courses(metrics: Metrics, quantity: str, by: Sequence[str]) -> Courses:
    """A probe's quantity over updates: a line per layer, a panel per group.

    Raises:
        PictureError: The quantity was not recorded.
    """
    names = [name for name in metrics.names if name.startswith(f"{quantity}/")]
    if not names:
        raise PictureError(f"no points of {quantity!r}: record.probes of the spec asks for them")
    settings = {run: one for run, one in metrics.settings.items() if run in set(metrics.run.tolist())}
    # Layers are compared within one network, that of the largest width.
    widest = max(one.width for one in settings.values())
    several = len({one.width for one in settings.values()}) > 1 and "width" not in by
    if several:
        settings = {run: one for run, one in settings.items() if one.width == widest}
    groups = arrange(settings.values(), ())
    axes = tuple(dict.fromkeys([*by, *groups.lines, *groups.panels]))
    layers = sorted(int(name.partition("/")[2]) for name in names)
    panels = []
    for title, runs in _grouped(settings, axes).items():
        depth = settings[runs[0]].hidden_layers
        courses = []
        for layer in layers:
            matrix = quantity.startswith(("update", "alignment", "gradient"))
            label = layer_name("W" if matrix else quantity[0] if quantity != "cka" else "x", layer, depth + 1)
            output = layer == depth + 1
            course = _course(
                metrics, f"{quantity}/{layer}", runs, "readout" if output and matrix else label,
                Role.APART if output else Role.ORDERED, geometric=quantity not in _LINEAR,
            )  # fmt: skip
            if course.moments:
                courses.append(course)
        panels.append(CoursePanel(title, tuple(courses)))
    shown, left_out = within(panels, "groups of runs")
    title = _QUANTITIES.get(quantity, quantity)
    of = f" ({groups.shared})" if groups.shared else ""
    only = f"Of the widths the largest, {widest}." if several else ""
    return Courses(
        title,
        tuple(shown),
        min(3, len(shown)),
        f"{title[0].upper()}{title[1:]} by layer over updates{of}",
        _seeds(settings),
        f"{only} {left_out}".strip(),
        logarithmic=quantity not in _LINEAR,
    )


def _settings(metrics: Metrics, name: str) -> dict[int, Settings]:
    there = set(metrics.run.tolist())
    found = {run: one for run, one in metrics.settings.items() if run in there}
    if name not in metrics.names or not found:
        raise PictureError(
            f"there are no points of {name!r} yet; there are: {', '.join(metrics.names) or 'none'}"
        )
    return found


def _seeds(settings: dict[int, Settings]) -> int:
    """Minimum number of seeds per line."""
    counts: dict[Settings, int] = {}
    for one in settings.values():
        group = replace(one, seed=0)
        counts[group] = counts.get(group, 0) + 1
    return min(counts.values())


def _grouped(settings: dict[int, Settings], axes: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for run in sorted_by(settings, axes):
        groups.setdefault(named(settings[run], axes), []).append(run)
    return groups


def _panels(metrics: Metrics, settings: dict[int, Settings], groups: Groups, name: str) -> list[CoursePanel]:
    panels: dict[str, dict[str, list[int]]] = {}
    for run in sorted_by(settings, (*groups.panels, *groups.lines)):
        one = settings[run]
        panels.setdefault(groups.panel(one), {}).setdefault(groups.line(one), []).append(run)

    def course(line: str, of_line: Sequence[int]) -> Course:
        role = groups.role_of(settings[of_line[0]])
        return _course(metrics, name, of_line, line, role, geometric=name.endswith("loss"))

    return [
        CoursePanel(title, tuple(course(line, runs) for line, runs in lines.items()))
        for title, lines in panels.items()
    ]


def _course(
    metrics: Metrics, name: str, runs: Sequence[int], label: str, role: Role, *, geometric: bool
) -> Course:
    """Mean and interval over the runs that have a point at each step."""
    diverged = tuple(float(metrics.diverged[run]) for run in runs if run in metrics.diverged)
    if name not in metrics.names:
        return Course(label, (), role, diverged)
    chosen = (metrics.metric == metrics.names.index(name)) & np.isin(metrics.run, runs)
    if geometric:
        chosen &= metrics.value > 0
    step, value = metrics.step[chosen], metrics.value[chosen]
    moments = []
    for at in np.unique(step):
        found = mean(value[step == at].tolist(), geometric=geometric)
        moments.append(Moment(float(at), found.value, *found.band))
    return Course(label, tuple(moments), role, diverged)


def _best_rates(
    metrics: Metrics, name: str, settings: dict[int, Settings], by: Sequence[str]
) -> tuple[set[int], bool]:
    """The runs to draw: in each group only those at the base rate with the best last mean value."""
    rates = {one.base_learning_rate for one in settings.values()}
    per_group: dict[tuple[object, ...], dict[float, list[int]]] = {}
    for run, one in settings.items():
        key = one.parameterization, one.hidden_layers, one.width, one.activation
        per_group.setdefault(key, {}).setdefault(one.base_learning_rate, []).append(run)
    if "base_learning_rate" in by or len(rates) == 1 or all(len(found) == 1 for found in per_group.values()):
        return set(settings), False
    sign = -1.0 if name.endswith("accuracy") else 1.0
    kept: set[int] = set()
    for found in per_group.values():
        scores = {rate: sign * _last_mean(metrics, name, runs) for rate, runs in found.items()}
        kept |= set(found[min(scores, key=lambda rate: scores[rate])])
    return kept, True


def _last_mean(metrics: Metrics, name: str, runs: Sequence[int]) -> float:
    """Mean of the last values; infinite if a run diverged or has fewer steps than the experiment."""
    if any(run in metrics.diverged for run in runs):
        return float("inf")
    chosen = metrics.metric == metrics.names.index(name)
    last = int(metrics.step[chosen].max())
    values = metrics.value[chosen & np.isin(metrics.run, runs) & (metrics.step == last)]
    return float(values.mean()) if len(values) == len(runs) else float("inf")


def _ends(metrics: Metrics, name: str, settings: dict[int, Settings], groups: Groups) -> str:
    """A sentence that names the line with the best end; "" for several panels."""
    lines: dict[str, list[int]] = {}
    for run, one in settings.items():
        lines.setdefault(groups.line(one), []).append(run)
    scores = {line: _last_mean(metrics, name, runs) for line, runs in lines.items()}
    if len(scores) < 2 or groups.panels or not all(np.isfinite(list(scores.values()))):
        return ""
    pick = max if name.endswith("accuracy") else min
    best = pick(scores, key=lambda line: scores[line])
    word = "highest" if name.endswith("accuracy") else "lowest"
    return f"{best} ends {word}, at {scores[best]:.3g}."
