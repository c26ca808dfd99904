"""The coordinate check finds a parameterization that is wrong in one layer, and names the layer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from ipcore.analysis import check_coordinates
from ipcore.theory import RatePhase, analyze, preset
from reproduction import coordinate_check
from reproduction.examples import smaller

HALF = Fraction(1, 2)
MUP = preset("mup", 3)


def first_disagreement(train, parameterization):
    """Trained with this parameterization, compared with muP."""
    spec = smaller(
        coordinate_check.STUDY.spec,
        steps=1,
        widths=[64, 128, 256],
        activations=["tanh"],
        seeds=list(range(12)),
        parameterizations=[{"preset": "mup", "base_learning_rates": [0.1]}],
    )
    result = train(spec, {"mup": parameterization})
    measured = {("h", layer, 0): result.samples(f"h/{layer}@0") for layer in range(1, 5)}
    measured |= {("h_change", layer, 1): result.samples(f"h_change/{layer}@1") for layer in range(1, 5)}
    report = check_coordinates(measured, analyze(MUP, activation="tanh", steps=1))
    return report.first, report.conclusion


def test_the_right_one_passes(train):
    first, conclusion = first_disagreement(train, MUP)
    assert first is None, conclusion


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_a_wrong_multiplier_shows_in_its_layer_at_step_0(train, layer):
    a = list(MUP.a)
    a[layer - 1] -= HALF
    first, conclusion = first_disagreement(train, replace(MUP, a=tuple(a)))
    assert (first.step, first.layer) == (0, layer), conclusion
    assert ("the output" if layer == 4 else f"layer {layer}") in conclusion


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_a_wrong_rate_shows_in_its_layer_at_step_1(train, layer):
    c = list(MUP.phases[0].c)
    c[layer - 1] -= 1
    first, conclusion = first_disagreement(train, replace(MUP, phases=(RatePhase(0, tuple(c)),)))
    assert (first.step, first.layer) == (1, layer), conclusion
