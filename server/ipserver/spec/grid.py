"""Rules of a grid: its axes, the parameterizations, the number of runs and their memory."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from ipcore import theory
from ipcore.catalogue import ACTIVATIONS
from ipcore.theory.parameterization import expand_layers
from ipcore.theory.presets import find_preset
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.defaults import default_label
from ipserver.spec.expand import count_runs
from ipserver.spec.limits import Limits
from ipserver.spec.problems import Problems, shown

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LISTS = ("a", "b", "c", "c_first_step")
# Rates and multipliers m^e are double precision numbers on their way to the layers.
_LARGEST_POWER_OF_TWO = 1000


def check_grid(grid: pb.Grid, path: str, limits: Limits, problems: Problems) -> None:
    """All axes and what they make together, but not the memory, which needs a valid spec."""
    widths = problems.axis(
        f"{path}.widths",
        grid.widths,
        "width",
        lambda field, m: problems.integer(field, m, 1, limits.max_width, "a width"),
    )
    depths = problems.axis(
        f"{path}.hidden_layers",
        grid.hidden_layers,
        "number of hidden layers",
        lambda field, depth: problems.integer(
            field, depth, 1, limits.max_hidden_layers, "a number of hidden layers"
        ),
    )
    problems.axis(
        f"{path}.activations",
        grid.activations,
        "activation",
        lambda field, name: problems.name(field, name, "activation", ACTIVATIONS),
    )
    problems.axis(f"{path}.seeds", grid.seeds, "seed", lambda _field, _seed: True)
    own_rates = [bool(entry.base_learning_rates) for entry in grid.parameterizations]
    if grid.base_learning_rates or not own_rates or not all(own_rates):
        _check_rates(grid.base_learning_rates, f"{path}.base_learning_rates", problems)
    _check_parameterizations(grid, path, depths, max(widths, default=1), problems)
    if (runs := count_runs(grid)) > limits.max_runs:
        problems.add(
            path,
            f"has {runs:,} runs but one experiment may have {limits.max_runs:,}; shorten an axis or submit "
            "several experiments",
        )


def grid_warnings(grid: pb.Grid) -> list[str]:
    """What is allowed but probably not meant."""
    if grid.base_learning_rates and all(entry.base_learning_rates for entry in grid.parameterizations):
        return ["grid.base_learning_rates is not used: every parameterization brings its own rates"]
    return []


def _check_rates(rates: Sequence[float], path: str, problems: Problems) -> None:
    def check(field: str, rate: float) -> bool:
        if math.isfinite(rate) and rate > 0:
            return True
        problems.add(field, f"a base learning rate must be a finite number above 0, not {rate}")
        return False

    problems.axis(path, rates, "base learning rate", check)


def _check_parameterizations(
    grid: pb.Grid, path: str, depths: Sequence[int], width: int, problems: Problems
) -> None:
    field = f"{path}.parameterizations"
    if not grid.parameterizations:
        problems.add(field, "is empty; give at least one parameterization, as {preset: ip-llr}")
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
        _check_parameterization(entry, here, depths, width, problems)


def _check_parameterization(
    entry: pb.ParameterizationSpec, path: str, depths: Sequence[int], width: int, problems: Problems
) -> None:
    scheme = entry.WhichOneof("scheme")
    if scheme == "preset":
        _check_preset(entry.preset, f"{path}.preset", depths, width, problems)
    elif scheme == "exponents":
        for name in _LISTS:
            entries = getattr(entry.exponents, name)
            if entries or name != "c_first_step":
                _check_exponents(entries, f"{path}.exponents.{name}", depths, width, problems)
    else:
        problems.add(path, "has neither 'preset' nor 'exponents'; give one of them")
    _check_label(entry, scheme, path, problems)
    if entry.base_learning_rates:
        _check_rates(entry.base_learning_rates, f"{path}.base_learning_rates", problems)
    if entry.HasField("calibration"):
        for name in ("readout_target", "cap"):
            value = getattr(entry.calibration, name)
            if not (math.isfinite(value) and value > 0):
                problems.add(f"{path}.calibration.{name}", f"must be a finite number above 0, not {value}")


def _check_label(entry: pb.ParameterizationSpec, scheme: str | None, path: str, problems: Problems) -> None:
    if not entry.label:
        # A preset's default label is empty only if its name is, which is a mistake of its own.
        if scheme == "exponents":
            problems.add(f"{path}.label", "is required with explicit exponents")
    elif not _LABEL.fullmatch(entry.label) and entry.label != default_label(entry.preset):
        rule = "1-63 lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"
        problems.add(f"{path}.label", f"{shown(entry.label)} is not a label: {rule}")


def _check_preset(name: str, path: str, depths: Sequence[int], width: int, problems: Problems) -> None:
    try:
        found = find_preset(name)
        if reason := found.untrainable_reason:
            raise theory.TheoryError(f"{name!r}: {reason}")
        deepest = [found.build(depth) for depth in sorted(depths)][-1:]
    except theory.TheoryError as error:
        problems.add(path, str(error))
        return
    for value in deepest:
        every = {*value.a, *value.b, *(e for phase in value.phases for e in phase.c)}
        _check_range(every, path, width, f" at {value.hidden_layers} hidden layers", problems)


def _check_exponents(
    entries: Sequence[str], path: str, depths: Sequence[int], width: int, problems: Problems
) -> None:
    values: list[Fraction] = []
    for i, text in enumerate(entries):
        try:
            values.append(theory.parse_exponent(text))
        except theory.TheoryError as error:
            problems.add(f"{path}[{i}]", str(error))
    # The length does not depend on what the entries say, so both kinds of mistake are found at once.
    zeros = [Fraction(0)] * len(entries)
    for depth in sorted(depths):
        try:
            expand_layers(zeros, depth, path)
        except theory.TheoryError as error:
            problems.add(path, str(error))
            break
    _check_range(values, path, width, "", problems)


def _check_range(
    values: Sequence[Fraction] | set[Fraction], path: str, width: int, where: str, problems: Problems
) -> None:
    largest = max(values, key=abs, default=Fraction(0))
    if abs(largest) * max(1.0, math.log2(width)) > _LARGEST_POWER_OF_TWO:
        problems.add(
            path, f"the exponent {largest}{where} makes powers of the width {width} that no number can hold"
        )
