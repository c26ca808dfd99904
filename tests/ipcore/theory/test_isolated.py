"""Isolated updates by hand: -c - 2a + e(dh^l) + e(x^{l-1}) + [l > 1] (1 + e(x^{l-1})), and signs."""

from fractions import Fraction

import pytest

from ipcore.theory import Analysis, IsolatedChanges, analyze, custom, isolated_changes, preset

ONE, HALF = Fraction(1), Fraction(1, 2)


def changes(name: str, step: int = 0, **more) -> IsolatedChanges:
    optimizer = more.get("optimizer", "sgd")
    return isolated_changes(analyze(preset(name, 3, optimizer=optimizer), activation="tanh", **more), step)


def by_hand(p, e_x, e_dh, step: int) -> list[Fraction]:
    """The formula of gradient descent, from sizes at step 0 that are given."""
    found = []
    for i, (a, c, dh) in enumerate(zip(p.a, p.c_at(step), e_dh, strict=True)):
        below = e_x[i - 1] if i else Fraction(0)
        found.append(-c - 2 * a + dh + below + ((1 + below) if i else 0))
    return found


@pytest.mark.parametrize(
    ("name", "e_x", "e_dh"),
    [
        # Hidden layers of order 1; dh^3 = W^4 df, from there on a factor m^(1/2) m^{-(a+b)}.
        ("mup", [0, 0, 0], [-1, -1, -1, 0]),
        ("sp", [0, 0, 0], [-HALF, -HALF, -HALF, 0]),
        ("ntk", [0, 0, 0], [-HALF, -HALF, -HALF, 0]),
        # Weights of hidden layers are 1/m: x^l = m^(-1/2) x^{l-1}, and derivatives likewise.
        ("ip-llr", [0, -HALF, -1], [-2, -3 * HALF, -1, 0]),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 5])
def test_gradient_descent(name, e_x, e_dh, step):
    found = changes(name, step)
    expected = by_hand(preset(name, 3), [Fraction(e) for e in e_x], [Fraction(e) for e in e_dh], step)
    assert list(found.by_matrix) == expected
    # A first bias that shares its layer's exponents moves as the layer does on inputs of order 1.
    assert found.by_bias == (expected[0],)
    assert found.exact


@pytest.mark.parametrize("optimizer", ["adam", "signum", "lion"])
def test_signs_move_by_their_rates(optimizer):
    """-c - a, summed over m inputs of order 1."""
    p = preset("mup", 3, optimizer="adam")
    found = isolated_changes(analyze(p, optimizer=optimizer, activation="tanh"), 0)
    expected = [-c - a + (1 if i else 0) for i, (a, c) in enumerate(zip(p.a, p.c_at(0), strict=True))]
    assert list(found.by_matrix) == expected == [0, 0, 0, 0]


def test_an_epsilon_that_dominates_leaves_gradient_descent_with_c_minus_d():
    p = custom(3, a=["0"] * 3, b=["0", "1/2", "1"], c=["0"] * 3, d=["1/4"] * 3)
    analysis = analyze(p, optimizer="adam", activation="tanh", epsilon="dominating")
    # e(dh) = (-1, -1, -1, 0) with a readout of 1/m and hidden weights of m^(-1/2).
    assert isolated_changes(analysis, 0).by_matrix == (
        Fraction(-3, 4),
        Fraction(1, 4),
        Fraction(1, 4),
        Fraction(5, 4),
    )


def test_momentum_and_muon():
    """The first velocity is the gradient. Orthogonal hidden updates have entries 1/m (times factors of m)."""
    assert changes("mup", optimizer="momentum") == changes("mup")
    p = custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3)
    found = isolated_changes(analyze(p, optimizer="muon-unscaled", activation="tanh"), 0)
    # Entries m^(-1/2) of an m x d matrix, 1/m of m x m, m^(-1/2) of C x m.
    assert found.by_matrix == (-HALF, Fraction(0), HALF)


def test_biases_with_exponents_of_their_own():
    """-c^b - 2 a^b + e(dh^l)."""
    p = preset("ip-bias", 3)
    assert p.biases is not None
    analysis = analyze(p, activation="tanh")
    # Own biases keep hidden layers at order 1, so e(dh) is that of weights of 1/m.
    e_dh = [Fraction(-2), Fraction(-3, 2), Fraction(-1), Fraction(0)]
    expected = [-c - 2 * a + dh for a, c, dh in zip(p.biases.a, p.biases.phase_at(0).c, e_dh, strict=True)]
    assert list(isolated_changes(analysis, 0).by_bias) == expected


def test_an_output_that_grows_leaves_upper_bounds():
    p = custom(2, a=["0"] * 3, b=["0", "1/2", "0"], c=["1"] * 3)
    analysis: Analysis = analyze(p, activation="tanh")
    assert analysis.steps[0].f == HALF
    assert not isolated_changes(analysis, 0).exact
