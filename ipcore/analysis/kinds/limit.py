"""Distance of networks from infinite width: their outputs on the test set, compared seed by seed.

At every step at which outputs were recorded (the probe `outputs`): distance, variance, bias and the widths
needed, by `ipcore.analysis.output_distance`. D falls like m^(-1/2) where V ~ 1/m leads. Where outputs were
not recorded the final test losses are compared instead, which the sentence says, relative to the root mean
square of the limits' losses:

    D^2 = mean of (loss_m - loss_inf)^2,   V = variance of the difference,   b^2 = its squared mean - V / S

They say little where little is learned, and the particles' own error of a loss is not known.

Where no limit is computed, networks at least 16 times wider than all others take its place, if they recorded
outputs. If the limit is a kernel machine with a random f_0, each network is compared with the machine that
starts from its own f_0 (the probe `paired_outputs`), relative to how far that has moved from f_0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis.case import Case, Kind, Run
from ipcore.analysis.limit_distance import LimitDistance, NeededWidth, WidthDistance, fit_distances
from ipcore.analysis.output_distance import (
    Outputs,
    distances_by_width,
    output_distance,
    stand_in,
    with_own_error,
)
from ipcore.analysis.report import Check, Report, WidthValue, finite
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import MIN_SEEDS, Verdict
from ipcore.analysis.widths import width_text
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.errors import AnalysisError
from ipcore.words import counted

_NAME: Final = "LIMIT"
# `Check.quantity` if outputs were compared: the metric by which they were recorded.
_OUTPUTS: Final = "output_sketch"
_PREDICTED: Final = Fraction(-1, 2)
# Distances for which a width is stated.
_NEEDED: Final = (0.05, 0.01)
# An extrapolation to wider networks than these only says that the distance hardly falls.
_BEYOND: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Few:
    """Distances at too few widths for a slope, as a sentence."""

    text: str


# A comparison, distances without one, or why there are none.
_Found = Check | _Few | str


def _find(case: Case) -> Report:
    diverged = {(run.width, run.seed) for run in case.runs if run.diverged}
    if _is_paired(case):
        checks = [_of_paired(case, step, diverged) for step in sorted(case.outputs) if step]
        return _report([check for check in checks if check is not None])
    if why := case.trained.not_compared.get(case.subject.parameterization):
        return _report([why])
    reference = _reference(case)
    found: list[_Found] = []
    for step, outputs in sorted(case.outputs.items()):
        limits = {
            seed: one
            for (width, seed), one in outputs.items()
            if width == reference and (width, seed) not in diverged
        }
        networks: dict[int, dict[int, Outputs]] = {}
        for (width, seed), one in outputs.items():
            if width != reference and seed in limits and (width, seed) not in diverged:
                networks.setdefault(width, {})[seed] = one
        if step and limits and networks:
            if reference != INFINITE_WIDTH:
                limits = with_own_error(limits, reference, networks)
            found.append(_of_outputs(case, step, networks, limits, reference))
    if not found and case.limits:
        found.append(_of_losses(case))
    return _report(found)


def _report(found: Sequence[_Found]) -> Report:
    return Report(
        checks=tuple(one for one in found if isinstance(one, Check)),
        notes=tuple(f"distance to the limit: {one}" for one in found if isinstance(one, str)),
        measurements=tuple(f"distance to the limit: {one.text}" for one in found if isinstance(one, _Few)),
    )


def _is_paired(case: Case) -> bool:
    """Whether networks were recorded beside kernel machines of their own f_0."""
    return any(one.limit for outputs in case.outputs.values() for one in outputs.values())


def _of_paired(case: Case, step: int, diverged: AbstractSet[tuple[int, int]]) -> _Found | None:
    networks: dict[int, dict[int, Outputs]] = {}
    for (width, seed), one in case.outputs[step].items():
        if one.limit is not None and (width, seed) not in diverged:
            networks.setdefault(width, {})[seed] = one
    if not networks:
        return None
    whose = "those of the kernel machines of infinite width that start from their own f_0"
    return _distances(case, step, networks, {}, ("the outputs on the test set are", whose, ""))


def _reference(case: Case) -> int:
    """The width with which the others are compared; 0: none."""
    if case.limits:
        return INFINITE_WIDTH
    return (stand_in(case.trained.widths) if case.outputs else None) or 0


def _of_outputs(
    case: Case,
    step: int,
    networks: dict[int, dict[int, Outputs]],
    limits: dict[int, Outputs],
    reference: int,
) -> _Found:
    whose = "those of infinite width"
    own = max(limit.error for limit in limits.values())
    own_error = f"the particles' own error of f is {_percent(own)}" if own else ""
    if reference != INFINITE_WIDTH:
        whose = f"those of width {reference:,}, used in place of infinite width"
        own_error = f"its own distance from that, {_percent(own)} by a variance of order 1/m, is taken out"
    words = "the outputs on the test set are", whose, own_error
    return _distances(case, step, networks, limits, words)


def _distances(
    case: Case,
    step: int,
    networks: dict[int, dict[int, Outputs]],
    limits: dict[int, Outputs],
    words: tuple[str, str, str],
) -> _Found:
    """The finding on distances of outputs after a step."""
    after = f"after {counted(step, 'update')}"
    try:
        if len(networks) < MIN_WIDTHS:
            return _Few(f"{after} {_of_few(distances_by_width(networks, limits), words[1])}")
        found = output_distance(networks, limits, needed=_NEEDED)
    except AnalysisError as error:
        return f"{after}: {error}"
    return _check(case, found, words, f"{after} ", step)


def _of_few(widths: tuple[WidthDistance, ...], whose: str) -> str:
    """Distances of too few widths for a slope."""
    each = (
        f"{_percent(w.distance.value)} [{_percent(w.distance.low)}, {_percent(w.distance.high)}] at width "
        f"{w.width:,}"
        for w in widths
    )
    return (
        f"the outputs on the test set are {', '.join(each)} from {whose}; the slope, and the width that a "
        f"distance needs, take {MIN_WIDTHS} widths"
    )


def _of_losses(case: Case) -> _Found:
    limits = {run.seed: run for run in case.limits if run.final_test_loss is not None}
    losses: dict[int, list[tuple[float, float]]] = {}
    for run in case.runs:
        if run.seed in limits and run.final_test_loss is not None and not run.diverged:
            losses.setdefault(run.width, []).append((run.final_test_loss, _loss(limits[run.seed])))
    if not limits or not losses:
        return "no seed has ended both at infinite width and at others"
    try:
        found = _loss_distance(losses)
    except AnalysisError as error:
        return str(error)
    head = (
        "outputs were not recorded (record.probes {quantities: [outputs]}), so losses are compared, which "
        "say little where little is learned: "
    )
    own = max((run.limit_error for run in limits.values() if run.limit_error), default=0.0)
    own_error = f"the particles' own error of f is {_percent(own)}" if own else ""
    return _check(case, found, ("the final test loss is", "that of infinite width", own_error), head)


def _check(
    case: Case, found: LimitDistance, words: tuple[str, str, str], head: str, step: int | None = None
) -> Check:
    """The compared quantity ("the outputs are"), the reference, and a remark on the limit's error."""
    verdict = _verdict(found, case.tolerance)
    return Check(
        kind=_NAME,
        subject=case.subject,
        slope=found.slope.value,
        low=finite(found.slope.low),
        high=finite(found.slope.high),
        verdict=verdict,
        sentence=head + "; ".join(_parts(found, words, verdict)),
        points=tuple(
            WidthValue(
                w.width, w.distance.value, finite(w.distance.low), finite(w.distance.high), w.variance, w.bias
            )
            for w in found.widths
        ),
        seeds=min(w.seeds for w in found.widths),
        quantity="" if step is None else _OUTPUTS,
        step=step or 0,
        predicted=_PREDICTED,
        tolerance=case.tolerance,
    )


def _loss(run: Run) -> float:
    return math.nan if run.final_test_loss is None else run.final_test_loss


def _loss_distance(losses: dict[int, list[tuple[float, float]]]) -> LimitDistance:
    every = np.array([limit for pairs in losses.values() for _, limit in pairs])
    unit = float((every**2).mean())
    if not unit > 0:
        raise AnalysisError("the losses at infinite width are 0: a relative distance means nothing there")
    squares, parts = {}, {}
    for width, pairs in losses.items():
        off = np.array([finite_loss - limit for finite_loss, limit in pairs])
        if len(off) < 2:
            raise AnalysisError(f"width {width} has one seed beside its limit; needs at least 2")
        variance = float(off.var(ddof=1)) / unit
        squares[width] = off**2 / unit
        parts[width] = variance, float(off.mean()) ** 2 / unit - variance / len(off)
    return fit_distances(squares, parts, own=0.0, needed=_NEEDED)


def _verdict(found: LimitDistance, tolerance: float) -> Verdict:
    """Agrees if the slope's interval lies within the tolerance; disagrees if it does not even reach it."""
    low, high = found.slope.low, found.slope.high
    least, most = float(_PREDICTED) - tolerance, float(_PREDICTED) + tolerance
    if least <= low and high <= most and min(w.seeds for w in found.widths) >= MIN_SEEDS:
        return Verdict.AGREES
    return Verdict.DISAGREES if low > most else Verdict.UNDECIDED


def _parts(found: LimitDistance, words: tuple[str, str, str], verdict: Verdict) -> Iterator[str]:
    what, whose, error = words
    last: WidthDistance = found.widths[-1]
    bias = min(1.0, max(0.0, last.bias) / last.distance.value**2)
    yield (
        f"at width {last.width:,} {what} {_percent(last.distance.value)} [{_percent(last.distance.low)}, "
        f"{_percent(last.distance.high)}] from {whose}, "
        f"{_percent(bias)} of its square is bias and the rest variance over seeds"
    )
    yield f"it falls like m to the power {found.slope} (theory: -1/2: {verdict})"
    for needed in found.needed:
        yield _reached(needed, falls=found.slope.high < 0)
    if error:
        yield error


def _reached(needed: NeededWidth, *, falls: bool) -> str:
    if not falls or needed.width.value > _BEYOND:
        return f"no width is known at which it is {_percent(needed.distance)}, since it may not fall"
    how = " (extrapolated)" if needed.extrapolated else ""
    star, low, high = (
        width_text(one, 3) for one in (needed.width.value, needed.width.low, needed.width.high)
    )
    return f"{_percent(needed.distance)} is reached at width m* = {star} [{low}, {high}]{how}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if part >= 0.1 else f"{100 * part:.2g} %"


LIMIT: Final = Kind(_NAME, applies=lambda case: _is_paired(case) or bool(_reference(case)), find=_find)
