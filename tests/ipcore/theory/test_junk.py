"""Whatever a public function is given, it answers, or raises the theory's own error, short and at once."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest

from ipcore import theory
from ipcore.theory import (
    MeasuredParts,
    Phase,
    Power,
    Regime,
    TheoryError,
    analyze,
    parts_of,
    phases,
    preset,
)

HUGE = 10**10_000
JUNK: list[Any] = [
    None, True, 1.5, 0, -1, math.nan, math.inf, HUGE, -HUGE, Fraction(1, 3), Fraction(1, HUGE), 1j, "", "x",
    "\u0663", "a" * 10**5, b"x", [], [None], [1], ["0"] * 3, [math.nan] * 3, [HUGE] * 3, [True] * 3, [[]] * 2,
    {}, {1: 2}, {"c": 1, "a_last": (0, 1)}, {3}, object(), int, range(3), preset("mup", 2),
    Power(Fraction(1), 1e-300),
]  # fmt: skip

MUP, ADAM = preset("mup", 2), preset("mup", 2, optimizer="adam")
ONE = analyze(MUP)
ZEROS, ONES = (Fraction(0),) * 3, (Fraction(1),) * 2
PLANE = phases(preset("mup", 1), {"c": (-1, 1), "a_last": (0, 1)})
HALF, STEADY = Power(Fraction(-1, 2), 1.0), Power(Fraction(0), 1.0)

# Arguments with which each of them answers.
CALLS: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "Alignment.of": (theory.Alignment.of, {"hidden_layers": 2}),
    "Alignment": (theory.Alignment, {"forward": ONES, "backward": ONES[:1], "initial": ONES}),
    "Biases": (theory.Biases, {"a": ZEROS, "b": ZEROS, "phases": MUP.phases}),
    "Parameterization": (
        theory.Parameterization,
        {"a": ZEROS, "b": ZEROS, "phases": MUP.phases, "mean": None},
    ),
    "Parameterization.from_dict": (theory.Parameterization.from_dict, {"data": MUP.to_dict()}),
    "Parameterization.c_at": (MUP.c_at, {"step": 0}),
    "Parameterization.k_at": (MUP.k_at, {"step": 0}),
    "Phases.at": (PLANE.at, {"x": 0, "y": 0}),
    "Power": (Power, {"exponent": Fraction(0), "size": 1.0}),
    "Power.at": (HALF.at, {"width": 4}),
    "RatePhase": (theory.RatePhase, {"start": 0, "c": ZEROS}),
    "Reweighting": (theory.Reweighting, {"start": 1, "k": ZEROS}),
    "analyze": (analyze, {"parameterization": MUP}),
    "canonical": (theory.canonical, {"parameterization": MUP}),
    "complete": (theory.complete, {"a": ZEROS, "b": ("0", "1/2", "1/2")}),
    "crossover": (theory.crossover, {"first": STEADY, "second": HALF}),
    "custom": (theory.custom, {"hidden_layers": 2, "a": ZEROS, "b": ZEROS, "c": ZEROS}),
    "decimal_note": (theory.decimal_note, {"text": "0.3"}),
    "depth_exponents": (theory.depth_exponents, {"alpha": "1/2"}),
    "epsilon_crossovers": (
        theory.epsilon_crossovers,
        {
            "analysis": analyze(ADAM, optimizer="adam"),
            "gradients": (1e-3,) * 3,
            "width": 64,
            "epsilon": 1e-8,
        },
    ),
    "equivalent": (theory.equivalent, {"left": MUP, "right": MUP}),
    "expected_changes": (
        theory.expected_changes,
        {
            "layers": parts_of(ONE, 1),
            "measured": dict.fromkeys((1, 2, 3), MeasuredParts(1.0, 0.5, 0.5)),
            "width": 64,
            "widths": (64, 128),
        },
    ),
    "find_preset": (theory.find_preset, {"name": "mup"}),
    "fitted_slope": (theory.fitted_slope, {"sizes": (1.0, 2.0), "widths": (64, 128)}),
    "format_exponent": (theory.format_exponent, {"value": Fraction(1, 2)}),
    "gauge_of": (theory.gauge_of, {"parameterization": MUP, "a": ZEROS}),
    "gradient_exponents": (theory.gradient_exponents, {"analysis": ONE, "step": 0}),
    "in_gauge_of": (theory.in_gauge_of, {"name": "tp5-table-3", "parameterization": MUP}),
    "isolated_changes": (theory.isolated_changes, {"analysis": ONE, "step": 0}),
    "largest_rate_of": (theory.largest_rate_of, {"analysis": ONE}),
    "largest_stable_rate": (theory.largest_stable_rate, {"parameterization": MUP}),
    "local_slope": (theory.local_slope, {"powers": [STEADY, HALF], "width": 4}),
    "parse_exponent": (theory.parse_exponent, {"text": "1/2"}),
    "parts_of": (parts_of, {"analysis": ONE, "step": 1}),
    "phase_name": (theory.phase_name, {"phase": Phase(Regime.KERNEL)}),
    "phases": (
        phases,
        {"parameterization": preset("mup", 1), "free": {"c": (-1, 1), "a_last": (0, 1)}, "work": 1000},
    ),
    "preset": (preset, {"name": "mup", "hidden_layers": 2}),
    "presets_at": (theory.presets_at, {"hidden_layers": 2}),
    "published": (theory.published, {"name": next(iter(theory.TABLES)), "hidden_layers": 2}),
    "shift": (theory.shift, {"parameterization": MUP, "by": ZEROS}),
    "sum_at": (theory.sum_at, {"powers": [STEADY, HALF], "width": 4}),
}
# Their arguments are any number of lists.
OTHERS = {"decimal_notes"}


def test_every_public_function_is_tried():
    public = {name for name in theory.__all__ if inspect.isfunction(getattr(theory, name))}
    assert public - OTHERS == {name for name in CALLS if name[0].islower()}


@pytest.mark.parametrize("name", CALLS)
def test_junk_is_refused_in_words(name: str):
    call, given = CALLS[name]
    call(**given)
    for parameter in inspect.signature(call).parameters:
        for junk in JUNK:
            start = time.process_time()
            try:
                call(**{**given, parameter: junk})
            except TheoryError as error:
                assert len(str(error)) < 1_000, (parameter, junk)
                assert error.problems
            assert time.process_time() - start < 2, (parameter, junk)


def _replaced(data: Any, junk: Any) -> Iterator[Any]:
    """Copies of nested data with each of its parts in turn replaced."""
    yield junk
    if isinstance(data, dict):
        for key, value in data.items():
            yield {other: entry for other, entry in data.items() if other != key}
            yield from ({**data, key: changed} for changed in _replaced(value, junk))
    if isinstance(data, list):
        yield data[:-1]
        for i, value in enumerate(data):
            yield from ([*data[:i], changed, *data[i + 1 :]] for changed in _replaced(value, junk))


@pytest.mark.parametrize("name", ["ip-bias", "ip-non-centered", "hpz", "mup"])
def test_stored_parameterizations_are_refused_in_words(name: str):
    """Every part of what `to_dict` gives is left out, or is something else."""
    data = preset(name, 2, optimizer="adam" if name == "mup" else "sgd").to_dict()
    assert theory.Parameterization.from_dict(data).to_dict() == data
    for junk in JUNK:
        for changed in _replaced(data, junk):
            try:
                theory.Parameterization.from_dict(changed)
            except TheoryError as error:
                assert len(str(error)) < 1_000
