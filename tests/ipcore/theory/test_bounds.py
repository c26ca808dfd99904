"""The two runs of the calculus are an upper and a lower bound for every parameterization."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import ACTIVATIONS, LOSSES, OPTIMIZERS, Parameterization, RatePhase, Reweighting
from ipcore.theory.maxplus import Size
from ipcore.theory.rules import rules
from ipcore.theory.trajectory import trajectory

halves = st.integers(-4, 4).map(lambda k: Fraction(k, 2))
kept = st.none() | st.integers(0, 2).map(lambda k: Fraction(k, 2))


@st.composite
def parameterizations(draw: st.DrawFn) -> Parameterization:
    layers = draw(st.integers(2, 5))
    b = tuple(Fraction(draw(st.integers(0, 2)), 2) for _ in range(layers))
    a = tuple(Fraction(draw(st.integers(0, 2)), 2) for _ in range(layers))
    phase = RatePhase(0, tuple(draw(halves) for _ in range(layers)))
    later: tuple[Reweighting, ...] = ()
    if draw(st.booleans()):
        later = (Reweighting(1, (Fraction(0), *[draw(kept) for _ in range(layers - 2)], Fraction(0))),)
    mean = (None, *b[1:]) if draw(st.booleans()) else None
    return Parameterization(a, b, (phase,), mean=mean, reweightings=later)


def at_most(low: tuple[Size, ...], high: tuple[Size, ...]) -> bool:
    return all(
        small is None or (large is not None and small <= large)
        for small, large in zip(low, high, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(
    parameterizations(),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(LOSSES)),
    st.sampled_from(sorted(OPTIMIZERS)),
)
def test_bounds_are_in_order(p: Parameterization, activation: str, loss: str, optimizer: str) -> None:
    setting = rules(optimizer, activation, loss)
    upper = trajectory(p, setting, aligned=True, steps=3)
    lower = trajectory(p, setting, aligned=False, steps=3)
    for step in range(4):
        low, high = lower.at(step), upper.at(step)
        assert at_most(low.h, high.h)
        assert all(at_most((low.learned(i),), (high.learned(i),)) for i in range(len(low.h)))
