"""Counting in whole multiples gives the sizes that counting in fractions gives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import Alignment, Biases, Parameterization, RatePhase, Reweighting, preset
from ipcore.theory.calculus import Propagation
from ipcore.theory.rules import rules
from ipcore.theory.units import FRACTIONS, Multiples, unit_of

EXPONENTS = st.fractions(-3, 3, max_denominator=6)
KINDS = ("plain", "bias", "mean", "reweighted", "given", "blocks", "normalized")


@settings(max_examples=30)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(["sgd", "momentum", "adam", "muon"]),
    st.sampled_from(["relu", "tanh", "gelu", "softplus", "relu^2"]),
    st.booleans(),
    st.data(),
)
def test_sizes_do_not_depend_on_the_unit(kind, optimizer, activation, aligned, data):
    L = 3

    def row() -> tuple[Fraction, ...]:
        return tuple(data.draw(st.lists(EXPONENTS, min_size=L + 1, max_size=L + 1)))

    phases = (RatePhase(0, row(), row()), RatePhase(2, row(), row()))
    p = Parameterization(row(), row(), phases)
    setting = rules(optimizer, activation, "mse")
    match kind:
        case "bias":
            p = replace(p, biases=Biases(row(), row(), phases))
        case "mean":
            p = replace(p, mean=(None, *p.b[1:]))
        case "reweighted":
            p = replace(p, reweightings=(Reweighting(1, (None, *row()[1:])),))
        case "given":
            given = Alignment.of(L, forward="2/3", backward="3/5", initial="5/7")
            setting = replace(setting, alignment=given)
        case "blocks":
            setting = replace(setting, block_matrices=2)
        case "normalized":
            setting = replace(setting, normalized=True)
    unit = unit_of(p, setting)
    assert isinstance(unit, Multiples)
    counted, exact = (Propagation(p, setting, aligned=aligned, unit=u) for u in (unit, FRACTIONS))
    for step in range(4):
        assert counted.forward(step) == exact.forward(step)
        for run in (counted, exact):
            run.backward(step)
            run.update(step, p.phase_at(step), None if p.biases is None else p.biases.phase_at(step))
        assert unit.exponents(counted.dh) == tuple(exact.dh)
        assert counted.in_fractions().entries() == exact.entries()
        assert counted.signs == exact.signs


def test_what_is_no_multiple_is_refused():
    with pytest.raises(ArithmeticError, match=r"1/3 is not a multiple of 1/4"):
        Multiples(4).counted([Fraction(1, 2), Fraction(1, 3)])
    assert unit_of(preset("mup", 2), rules("sgd", "relu^3/2", "mse")) is FRACTIONS
