"""Rules of the parameterizations of a grid: presets or exponents, labels, rates, calibration, scales."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from ipcore import theory
from ipcore.catalogue import OPTIMIZERS
from ipcore.catalogue.optimizers import users_of
from ipcore.config import calibration_misfit
from ipcore.theory.checks import expand_layers
from ipcore.theory.presets import find_preset
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.checking import check_fields, check_value
from ipserver.request.convert import epsilon_exponents, parameterization
from ipserver.request.defaults import default_label
from ipserver.request.fields import fields_of
from ipserver.request.models import parameterization_depth
from ipserver.request.problems import Problems, shown
from ipserver.request.scales import Axes, check_scales, extremes

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NEEDED = ("a", "b", "c")
_LISTS = (*_NEEDED, "c_first_step", "d", "d_first_step")
_EPSILON_LISTS = ("d", "d_first_step")
_NAMED = 5
_NOTES = 3  # at most so many notes on rounded decimals per parameterization


def check_parameterizations(
    grid: pb.Grid, field: str, axes: Axes, rates: Sequence[float], limits: Limits, problems: Problems
) -> None:
    """Check all entries of the axis of parameterizations.

    Args:
        grid: Grid of the spec.
        field: Path of the axis.
        axes: Axes of the grid.
        rates: Valid base learning rates of the grid.
        limits: Limits of this service.
        problems: Collects the violations.
    """
    if not grid.parameterizations:
        problems.add(field, "is empty; give at least one parameterization, as {preset: ip-llr}")
    if problems.too_long(field, grid.parameterizations, limits.max_runs):
        return
    first_at: dict[str, int] = {}
    for i, entry in enumerate(grid.parameterizations):
        here = f"{field}[{i}]"
        if entry.label in first_at and entry.label:
            problems.add(
                f"{here}.label",
                f"{shown(entry.label)} is there twice (also at [{first_at[entry.label]}]); "
                "give each entry a label of its own",
            )
        first_at.setdefault(entry.label, i)
        _check_parameterization(entry, here, axes, rates, limits, problems)


def _check_parameterization(
    entry: pb.ParameterizationSpec,
    path: str,
    axes: Axes,
    rates: Sequence[float],
    limits: Limits,
    problems: Problems,
) -> None:
    before = len(problems.found)
    values: list[theory.Parameterization] = []
    scheme = entry.WhichOneof("scheme")
    if scheme == "preset":
        values = _check_preset(entry.preset, f"{path}.preset", axes, problems)
    elif scheme == "exponents":
        values = _check_exponents(entry.exponents, f"{path}.exponents", axes, problems)
    else:
        problems.add(path, "has neither 'preset' nor 'exponents'; give one of them")
    _check_label(entry, scheme, path, problems)
    if entry.base_learning_rates:
        rates = check_rates(entry.base_learning_rates, f"{path}.base_learning_rates", limits, problems)
    if entry.HasField("calibration"):
        _check_calibration(entry, values, f"{path}.calibration", axes, limits, problems)
    if len(problems.found) == before:
        check_scales(entry, values, path, axes, rates, problems)


def _check_calibration(
    entry: pb.ParameterizationSpec,
    values: Sequence[theory.Parameterization],
    path: str,
    axes: Axes,
    limits: Limits,
    problems: Problems,
) -> None:
    own_biases = any(value.biases is not None for value in values)
    if text := calibration_misfit(axes.optimizer, own_biases=own_biases):
        problems.add(path, text)
    check_fields(entry.calibration, path, limits, problems)


def _check_label(entry: pb.ParameterizationSpec, scheme: str | None, path: str, problems: Problems) -> None:
    if not entry.label:
        # A preset's default label is empty only if the preset's name is, which is reported separately.
        if scheme == "exponents":
            problems.add(f"{path}.label", "is required with explicit exponents")
    elif not _LABEL.fullmatch(entry.label) and entry.label != default_label(entry.preset):
        rule = "1-63 lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"
        problems.add(f"{path}.label", f"{shown(entry.label)} is not a label: {rule}")


def _check_preset(name: str, path: str, axes: Axes, problems: Problems) -> list[theory.Parameterization]:
    """The preset at the least and the largest depth."""
    try:
        found = find_preset(name)
        return [found.exponents(depth, axes.optimizer) for depth in extremes(axes.depths)]
    except theory.TheoryError as error:
        problems.add(path, error.text)
        return []


def _check_exponents(
    given: pb.Exponents, path: str, axes: Axes, problems: Problems
) -> list[theory.Parameterization]:
    """The parameterization at the least and the largest depth."""
    before = len(problems.found)
    lists = {
        name: _check_list(getattr(given, name), f"{path}.{name}", axes, problems)
        for name in _LISTS
        if getattr(given, name) or name in _NEEDED
    }
    if not OPTIMIZERS[axes.optimizer].has_epsilon:
        for name in _EPSILON_LISTS:
            if name in lists:
                problems.add(
                    f"{path}.{name}",
                    f"is used only with the optimizers {' and '.join(users_of('epsilon'))}; remove it",
                )
    if len(problems.found) > before:
        return []
    d = epsilon_exponents(lists.pop("d", []), axes.optimizer)
    return [theory.custom(depth, **lists, d=d) for depth in extremes(axes.depths)]


def _check_list(entries: Sequence[str], path: str, axes: Axes, problems: Problems) -> list[Fraction]:
    """The valid entries."""
    values = []
    for i, text in enumerate(entries):
        try:
            values.append(_parse(text))
        except theory.TheoryError as error:
            problems.add(f"{path}[{i}]", error.text)
    # The length is checked with zeros, so that wrong entries and a wrong length are reported together. A list
    # that fits two depths fits all.
    zeros = [Fraction(0)] * len(entries)
    for depth in sorted(axes.depths)[:2]:
        try:
            expand_layers(zeros, depth, path)
        except theory.TheoryError as error:
            problems.add(path, axes.explained(error.text, depth))
            break
    return values


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Fraction:
    """Parse an exponent. Cached, because lists for many layers repeat few values."""
    return theory.parse_exponent(text)


def check_rates(rates: Sequence[float], path: str, limits: Limits, problems: Problems) -> list[float]:
    """Check an axis of rates; return its distinct valid values."""
    field = fields_of(pb.Grid)["base_learning_rates"]

    def check(place: str, rate: float) -> bool:
        return check_value(field, rate, place, limits, problems)

    return problems.axis(path, rates, "base learning rate", check, limits.max_runs)


def parameterization_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """Warnings about settings that are valid but probably not intended.

    Args:
        spec: Valid, with its defaults filled in.
    """
    warnings = []
    grid = spec.grid
    if grid.base_learning_rates and all(entry.base_learning_rates for entry in grid.parameterizations):
        warnings.append("grid.base_learning_rates is not used: every parameterization has rates of its own")
    for entry in grid.parameterizations:
        lists = [getattr(entry.exponents, name) for name in _LISTS]
        warnings += [f"{entry.label}: exponent {note}" for note in theory.decimal_notes(*lists)[:_NOTES]]
    return [*warnings, *_warmup_warnings(spec)]


def _warmup_warnings(spec: pb.ExperimentSpec) -> Iterator[str]:
    """Warn of a warm-up that shrinks a large first step that a parameterization needs."""
    if not spec.schedule.warmup_steps:
        return
    depth = parameterization_depth(spec, max(spec.grid.hidden_layers))
    labels = [
        entry.label
        for entry in spec.grid.parameterizations
        if _first_step_is_larger(parameterization(entry, depth, spec.optimizer.name))
    ]
    if labels:
        named = ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if labels[_NAMED:] else "")
        yield (
            f"schedule.warmup_steps: the first update has 1/{spec.schedule.warmup_steps + 1} of its rate, "
            f"but {named} needs a large first step; exponents do not change, but consider warmup_steps 0"
        )


def _first_step_is_larger(value: theory.Parameterization) -> bool:
    first, later = value.c_at(0), value.phases[-1].c
    return any(c < after for c, after in zip(first, later, strict=True))
