"""Rules of a grid: its axes, the parameterizations, the number of runs and their memory."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from fractions import Fraction

from ipcore import theory
from ipcore.catalogue import ACTIVATIONS
from ipcore.scales import fits
from ipcore.theory.parameterization import expand_layers
from ipcore.theory.presets import find_preset
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.defaults import default_label
from ipserver.spec.expand import count_runs
from ipserver.spec.limits import Limits
from ipserver.spec.problems import Problems, shown
from ipserver.spec.scales import ALLOWED, Axes, check_scales, extremes

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LISTS = ("a", "b", "c", "c_first_step")
_NOTES = 3  # per parameterization; more of them say nothing new


def check_grid(spec: pb.ExperimentSpec, path: str, limits: Limits, problems: Problems) -> None:
    """All axes and what they make together, but not the memory, which needs a valid spec."""
    grid = spec.grid
    if (runs := count_runs(grid)) > limits.max_runs:
        problems.add(
            path,
            f"has {runs:,} runs but one experiment may have {limits.max_runs:,}; shorten an axis or submit "
            "several experiments",
        )
    widths = problems.axis(
        f"{path}.widths",
        grid.widths,
        "width",
        lambda field, m: problems.integer(field, m, 1, limits.max_width, "a width"),
        limits.max_runs,
    )
    depths = problems.axis(
        f"{path}.hidden_layers",
        grid.hidden_layers,
        "number of hidden layers",
        lambda field, depth: problems.integer(
            field, depth, 1, limits.max_hidden_layers, "a number of hidden layers"
        ),
        limits.max_runs,
    )
    problems.axis(
        f"{path}.activations",
        grid.activations,
        "activation",
        lambda field, name: problems.name(field, name, "activation", ACTIVATIONS),
        limits.max_runs,
    )
    problems.axis(f"{path}.seeds", grid.seeds, "seed", lambda _field, _seed: True, limits.max_runs)
    own_rates = [bool(entry.base_learning_rates) for entry in grid.parameterizations]
    rates: list[float] = []
    if grid.base_learning_rates or not own_rates or not all(own_rates):
        rates = _check_rates(grid.base_learning_rates, f"{path}.base_learning_rates", limits, problems)
    # Parameterizations cost most to check: not worth it for a grid that must be cut anyway.
    if runs <= limits.max_runs:
        axes = Axes(widths, depths, max(1, spec.batch_size))
        _check_parameterizations(grid, f"{path}.parameterizations", axes, rates, limits, problems)


def grid_warnings(grid: pb.Grid) -> list[str]:
    """What is allowed but probably not meant."""
    warnings = []
    if grid.base_learning_rates and all(entry.base_learning_rates for entry in grid.parameterizations):
        warnings.append("grid.base_learning_rates is not used: every parameterization brings its own rates")
    for entry in grid.parameterizations:
        given = entry.exponents
        notes = theory.decimal_notes(given.a, given.b, given.c, given.c_first_step)
        warnings += [f"{entry.label}: exponent {note}" for note in notes[:_NOTES]]
    return warnings


def _check_rates(rates: Sequence[float], path: str, limits: Limits, problems: Problems) -> list[float]:
    """The valid ones, each once."""

    def check(field: str, rate: float) -> bool:
        if fits(rate):
            return True
        rule = f"a finite number above 0 that training can hold ({ALLOWED})"
        problems.add(field, f"a base learning rate must be {rule}, not {rate}")
        return False

    return problems.axis(path, rates, "base learning rate", check, limits.max_runs)


def _check_parameterizations(
    grid: pb.Grid, field: str, axes: Axes, rates: Sequence[float], limits: Limits, problems: Problems
) -> None:
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
        values = _check_preset(entry.preset, f"{path}.preset", axes.depths, problems)
    elif scheme == "exponents":
        values = _check_exponents(entry.exponents, f"{path}.exponents", axes.depths, problems)
    else:
        problems.add(path, "has neither 'preset' nor 'exponents'; give one of them")
    _check_label(entry, scheme, path, problems)
    if entry.base_learning_rates:
        rates = _check_rates(entry.base_learning_rates, f"{path}.base_learning_rates", limits, problems)
    if entry.HasField("calibration"):
        for name in ("readout_target", "cap"):
            value = getattr(entry.calibration, name)
            if not fits(value):
                rule = f"a finite number above 0 that training can hold ({ALLOWED})"
                problems.add(f"{path}.calibration.{name}", f"must be {rule}, not {value}")
    if len(problems.found) == before:
        check_scales(entry, values, path, axes, rates, problems)


def _check_label(entry: pb.ParameterizationSpec, scheme: str | None, path: str, problems: Problems) -> None:
    if not entry.label:
        # A preset's default label is empty only if its name is, which is a mistake of its own.
        if scheme == "exponents":
            problems.add(f"{path}.label", "is required with explicit exponents")
    elif not _LABEL.fullmatch(entry.label) and entry.label != default_label(entry.preset):
        rule = "1-63 lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"
        problems.add(f"{path}.label", f"{shown(entry.label)} is not a label: {rule}")


def _check_preset(
    name: str, path: str, depths: Sequence[int], problems: Problems
) -> list[theory.Parameterization]:
    """The preset at the least and the largest depth."""
    try:
        found = find_preset(name)
        if reason := found.untrainable_reason:
            raise theory.TheoryError(f"{name!r}: {reason}")
        return [found.build(depth) for depth in extremes(depths)]
    except theory.TheoryError as error:
        problems.add(path, str(error))
        return []


def _check_exponents(
    given: pb.Exponents, path: str, depths: Sequence[int], problems: Problems
) -> list[theory.Parameterization]:
    """The parameterization at the least and the largest depth."""
    before = len(problems.found)
    lists = {
        name: _check_list(getattr(given, name), f"{path}.{name}", depths, problems)
        for name in _LISTS
        if getattr(given, name) or name != "c_first_step"
    }
    if len(problems.found) > before:
        return []
    return [theory.custom(depth, **lists) for depth in extremes(depths)]


def _check_list(
    entries: Sequence[str], path: str, depths: Sequence[int], problems: Problems
) -> list[Fraction]:
    """The valid entries."""
    values = []
    for i, text in enumerate(entries):
        try:
            values.append(_parse(text))
        except theory.TheoryError as error:
            problems.add(f"{path}[{i}]", str(error))
    # The length does not depend on what the entries say, so both kinds of mistake are found at once. A list
    # that fits two depths fits all.
    zeros = [Fraction(0)] * len(entries)
    for depth in sorted(depths)[:2]:
        try:
            expand_layers(zeros, depth, path)
        except theory.TheoryError as error:
            problems.add(path, str(error))
            break
    return values


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Fraction:
    """Lists for many layers say few things many times."""
    return theory.parse_exponent(text)
