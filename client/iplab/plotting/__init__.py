"""Makes figures (`ipcore.figures`) from an experiment's runs, metrics and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ipcore.errors import unknown
from ipcore.figures import REPORT_KINDS, Courses, Picture, PictureError
from iplab.errors import InvalidRequestError, Violation
from iplab.given import names_of
from iplab.plotting.curves import layer_courses, learning_curves
from iplab.plotting.rates import rate_curves
from iplab.results.settings import axis

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.report import Report

# Kinds of figures over updates that are named by a metric, or by a quantity of all layers.
_OVER_STEPS: Final[Mapping[str, str]] = {
    "curves": "",
    "ranks": "update_stable_rank",
    "kernels": "cka",
    "alignment": "alignment_update",
    "sizes": "h",
    "changes": "h_change",
}
KINDS: Final = (
    "coordinates",
    "rates",
    "curves",
    *(k for k in REPORT_KINDS if k != "coordinates"),
    *list(_OVER_STEPS)[1:],
)
_MIN_RATES, _MIN_WIDTHS = 3, 3
# Requirements on a spec for each figure of a report; more widths are better.
_NEEDS: Final = {
    "coordinates": "record.probes {quantities: [coordinates], steps: [0, 1, 2]} at three widths",
    "stationarity": "record.probes {quantities: [coordinates], steps: [0, 1, 2]} at three widths",
    "drift": "three base learning rates or more at three widths or more",
    "calibrated-rates": "a parameterization with calibration at three widths",
    "isolated-updates": "record.probes {quantities: [isolated_updates], steps: [0, 1]} at three widths",
    "limit": "inf, or a width at least 16 times all others, beside three widths, and their outputs recorded "
    "(ntk: paired_outputs at three widths)",
    "alignment-exponents": "record.probes {quantities: [alignment], steps: [0, 1]} at three widths",
    **{
        kind: f"record.probes {{quantities: [{probe}], interval: 10}}"
        for kind, probe in {
            "ranks": "ranks",
            "kernels": "kernels",
            "alignment": "alignment",
            "sizes": "coordinates",
            "changes": "coordinates",
        }.items()
    },
}


def plot(
    experiment: Experiment, kind: str | None, by: str | Sequence[str] | None, metric: str | None, filter: str
) -> Picture:
    """See `Experiment.plot`."""
    groups = [axis(name) for name in names_of("by", () if by is None else by)]
    if kind is not None and kind not in KINDS:
        raise InvalidRequestError([Violation("kind", unknown("figure", str(kind), KINDS))])
    chosen = kind or ("curves" if metric else default_kind(experiment))
    if chosen in REPORT_KINDS:
        report = experiment.check(alignment=chosen == "alignment-exponents")
        pictures = report.pictures()
        if chosen not in pictures:
            raise PictureError(_missing(experiment, chosen, pictures, (*report.measurements, *report.notes)))
        return pictures[chosen]
    if chosen == "rates":
        return rate_curves(experiment, groups, filter)
    name = metric or _OVER_STEPS[chosen] or _loss(experiment)
    if "/" in name or chosen != "curves":
        quantity = name.partition("/")[0]
        try:
            points = experiment.metrics(filter, [f"{quantity}/*"])
        except InvalidRequestError as error:
            if (
                chosen in _NEEDS
                and metric is None
                and any(one.field.startswith("metrics") for one in error.violations)
            ):
                needs = f"{_NEEDS[chosen]}; curves and rates need no probes"
                raise PictureError(f"{experiment.id} has no {chosen!r} to draw: that needs {needs}") from None
            raise
        return layer_courses(points, quantity, groups)
    return learning_curves(experiment.metrics(filter, [name]), name, groups)


def pictures(experiment: Experiment, report: Report) -> dict[str, Picture]:
    """Every figure that an experiment has data for, by kind, in the order of `KINDS`.

    Args:
        experiment: Whose.
        report: Result of `Experiment.check`, with alignment if it was recorded.
    """
    of_report = report.pictures()
    probed = bool(experiment.spec.record.probes.quantities)
    found: dict[str, Picture] = {}
    for kind in KINDS:
        if kind in of_report:
            found[kind] = of_report[kind]
        elif kind not in REPORT_KINDS and (probed or kind in {"rates", "curves"}):
            # Whether a quantity was recorded is known only by requesting it.
            with suppress(PictureError, InvalidRequestError):
                drawn = plot(experiment, kind, None, None, "")
                if _has_lines(drawn):
                    found[kind] = drawn
    return found


def _has_lines(picture: Picture) -> bool:
    """Whether a line has at least two points; a single point adds nothing to the table of results."""
    return not isinstance(picture, Courses) or any(
        len(course.moments) + len(course.diverged) > 1 for course in picture.courses
    )


def default_kind(experiment: Experiment) -> str:
    """The most informative kind of figure that an experiment has data for."""
    grid, probes = experiment.spec.grid, experiment.spec.record.probes.quantities
    if "coordinates" in probes and len(grid.widths) >= _MIN_WIDTHS:
        return "coordinates"
    rates = [len(grid.base_learning_rates), *(len(p.base_learning_rates) for p in grid.parameterizations)]
    return "rates" if max(rates) >= _MIN_RATES else "curves"


def _loss(experiment: Experiment) -> str:
    return "validation_loss" if experiment.spec.validation_size else "test_loss"


def _missing(experiment: Experiment, kind: str, pictures: Mapping[str, object], notes: Iterable[str]) -> str:
    reportable = [name for name in KINDS if name in pictures]
    there = ", ".join([*reportable, "curves", "rates"])
    why = next((f" ({note})" for note in notes if kind in note), "")
    return f"{experiment.id} has no {kind!r} to draw: that needs {_NEEDS[kind]}{why}; it has: {there}"
