"""Adam's epsilon: both predictions, and the width at which one becomes the other."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import (
    Parameterization,
    RatePhase,
    TheoryError,
    analyze,
    custom,
    epsilon_crossovers,
    gradient_exponents,
    preset,
)

F = Fraction
HALF = F(1, 2)
SP = preset("sp", 3, optimizer="adam")


def changes(found, step):
    sizes = found.steps[step]
    return [*sizes.h_change, sizes.f_change]


def test_sp_with_the_frameworks_epsilon_by_hand():
    """SP, c = 0, one epsilon at all widths: the gradient of W^1 is m^-1/2, so epsilon dominates in the limit.

    Then h^1 changes by m^-1/2; with a negligible epsilon by a sign, of order 1. Above, signs add m entries:
    h^2 1, h^3 2, f 3.
    """
    limit = analyze(SP, optimizer="adam", steps=1)
    assert changes(limit, 1)[0] == -HALF
    small = analyze(SP, optimizer="adam", steps=1, epsilon="negligible")
    assert changes(small, 1) == [0, 1, 2, 3]
    assert small.epsilon == ("negligible",) * 4
    # One layer may be on either side of it.
    first = analyze(SP, optimizer="adam", steps=1, epsilon=["dominating", *["negligible"] * 3])
    assert changes(first, 1)[0] == -HALF
    assert first.to_dict()["epsilon"] == ["dominating", "negligible", "negligible", "negligible"]


eighths = st.integers(-12, 12).map(lambda n: F(n, 8))
schemes = st.integers(1, 4).flatmap(
    lambda L: st.tuples(*[st.lists(eighths, min_size=L + 1, max_size=L + 1)] * 4)
)


@given(scheme=schemes, activation=st.sampled_from(["relu", "tanh"]))
def test_negligible_is_the_sign_and_dominating_is_gradient_descent(scheme, activation):
    a, b, c, d = scheme
    p = custom(len(a) - 1, a, b, c, d=d)

    def sizes(p, optimizer, **more):
        found = analyze(p, optimizer=optimizer, activation=activation, steps=3, **more)
        return found.regime, [(s.h, s.h_change, s.f, s.f_change) for s in found.steps]

    small = sizes(p, "adam", epsilon="negligible")
    assert small == sizes(p, "sign")
    large = sizes(p, "adam", epsilon="dominating")
    shifted = custom(len(a) - 1, a, b, [x - y for x, y in zip(c, d, strict=True)])
    if activation == "relu":  # else bounds on the first step differ: signs have no alignment of their own
        assert large[1] == sizes(shifted, "sgd")[1]
    assert sizes(p, "adam", epsilon="limit") == sizes(p, "adam")


@given(scheme=schemes, t=st.lists(eighths, min_size=5, max_size=5))
def test_gradients_shift_with_the_gauge(scheme, t):
    """(a+t, b-t): the gradient with respect to w is m^-t as large."""
    a, b, c, d = scheme
    shift = t[: len(a)]
    p = custom(len(a) - 1, a, b, c, d=d)
    moved = replace(
        p,
        a=tuple(x + y for x, y in zip(a, shift, strict=True)),
        b=tuple(x - y for x, y in zip(b, shift, strict=True)),
    )
    before, after = (gradient_exponents(analyze(q, optimizer="adam", steps=1), 0) for q in (p, moved))
    assert after == tuple(x - y for x, y in zip(before, shift, strict=True))


def test_gradients_by_hand():
    """IP, L=3: dh = -2, -3/2, -1 and x = 0, -1/2, -1, with a = 0, 1, 1, 1 on top."""
    ip = analyze(preset("ip", 3))
    assert gradient_exponents(ip, 0) == (-2, F(-5, 2), F(-5, 2), -2)


def test_where_epsilon_takes_over():
    """|g| = 2e-2 at m = 64, falling like m^-1/2, meets 1e-8 at 64 (2e6)^2; a constant gradient never does."""
    found = analyze(SP, optimizer="adam", epsilon="negligible")
    crossings = epsilon_crossovers(found, (2e-2, 2e-2, None, 2e-2), 64, 1e-8)
    assert crossings[0] == pytest.approx(64 * 4e12)
    assert crossings[2:] == (None, None)
    # Nor does an epsilon that follows the gradient.
    (phase,) = preset("mup", 3, optimizer="adam").phases
    mup = preset("mup", 3, optimizer="adam")
    faithful = Parameterization(
        mup.a,
        mup.b,
        (RatePhase(0, phase.c, tuple(-e for e in gradient_exponents(analyze(mup, optimizer="adam"), 0))),),
    )
    assert epsilon_crossovers(analyze(faithful, optimizer="adam"), (1e-3,) * 4, 64, 1e-8) == (None,) * 4


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"epsilon": "small"}, "unknown epsilon 'small'"),
        ({"epsilon": ["negligible"] * 3}, "has 3 entries; it needs 1 or 4"),
        ({"epsilon": "negligible", "optimizer": "sgd"}, "only adam has an epsilon, sgd has none"),
    ],
)
def test_wrong_epsilons_are_refused(given_, said):
    with pytest.raises(TheoryError, match=said) as refused:
        analyze(SP, **{"optimizer": "adam", **given_})
    assert refused.value.field == "epsilon"


def test_what_dominates_needs_an_exponent():
    plain = custom(3, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3)
    with pytest.raises(TheoryError, match="needs its exponents d"):
        analyze(plain, optimizer="adam", epsilon="dominating")
    assert epsilon_crossovers(analyze(plain, optimizer="adam"), (1.0,) * 4, 64, 1e-8) == (None,) * 4
    for step in (-1, 21, 1.0):
        with pytest.raises(TheoryError, match=r"0\.\.20|must be an integer"):
            gradient_exponents(analyze(plain), step)
