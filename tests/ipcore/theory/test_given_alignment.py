"""Given alignment: the assumptions of Everett et al., bounds, and refusals."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import (
    TABLES,
    Alignment,
    Regime,
    TheoryError,
    analyze,
    complete,
    custom,
    largest_rate_of,
    largest_stable_rate,
    parts_of,
    preset,
    published,
)
from ipcore.theory.calculus import Propagation
from ipcore.theory.derived_alignment import derived_alignment

HALF = Fraction(1, 2)
L = 3


def rates(table: str, optimizer: str, alignment: str) -> list[str]:
    """First, hidden, last rate exponent of step 0 of the largest completion."""
    row = TABLES[table]
    done = complete(row.a, row.b, hidden_layers=L, optimizer=optimizer, alignment=alignment)
    first, hidden, also, last = done.parameterization.c_at(0)
    assert hidden == also
    return [str(first), str(hidden), str(last)]


# By hand: c_l = [e(grad) or 0] - (2) a_l + [l > 1] theta - R_l with R_l = min(0, s_{L+1} - 1/2) = 0.
FULL = {
    ("everett-standard", "adam"): ["0", "1", "1"],
    ("everett-ntk", "adam"): ["0", "1/2", "1/2"],
    ("everett-mup", "adam"): ["1/2", "1", "1/2"],
    ("everett-mfp", "adam"): ["0", "1/2", "0"],
    ("everett-standard", "sgd"): ["-1/2", "1/2", "1"],
    ("everett-mup", "sgd"): ["0", "0", "0"],
}


@pytest.mark.parametrize(("table", "optimizer"), FULL)
def test_rates_of_everett_et_al(table, optimizer):
    full = FULL[table, optimizer]
    assert rates(table, optimizer, "full") == full
    # Without alignment rates of hidden layers and of the readout may be m^(1/2) larger.
    first, hidden, last = full
    assert rates(table, optimizer, "none") == [
        first,
        str(Fraction(hidden) - HALF),
        str(Fraction(last) - HALF),
    ]


@pytest.mark.parametrize(("table", "optimizer"), FULL)
@pytest.mark.parametrize("alignment", ["full", "none"])
def test_these_rates_are_the_edge(table, optimizer, alignment):
    row = TABLES[table]
    p = complete(row.a, row.b, hidden_layers=L, optimizer=optimizer, alignment=alignment).parameterization
    found = analyze(p, optimizer=optimizer, alignment=alignment)
    assert found.regime is Regime.FEATURE_LEARNING
    assert "with alignment that is given" in found.source
    for layer in range(L + 1):
        phases = tuple(
            replace(phase, c=tuple(c - Fraction(i == layer, 8) for i, c in enumerate(phase.c)))
            for phase in p.phases
        )
        beyond = analyze(replace(p, phases=phases), optimizer=optimizer, alignment=alignment)
        assert beyond.regime in {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE}


def test_standard_rates_are_controlled_where_the_readout_is_aligned():
    p = published("everett-standard", L, "adam")
    assert analyze(p, optimizer="adam", alignment="full").regime is Regime.FEATURE_LEARNING
    aligned = Alignment.of(L, initial=[HALF, HALF, 1])
    assert analyze(p, optimizer="adam", alignment=aligned).regime is Regime.CONTROLLED_DIVERGENCE
    assert analyze(p, optimizer="adam").regime is Regime.CONTROLLED_DIVERGENCE


def test_each_exponent_takes_the_place_of_its_own():
    # NTK: h^1 changes by -1/2, updates of W^2 add theta - 3/2, W_0^2 passes on omega - 1.
    p = preset("ntk", 2)
    for theta, omega, change in [("1", "1/2", "-1/2"), ("3/4", "3/4", "-1/4"), ("3/4", "1", "0")]:
        found = analyze(p, steps=1, alignment=Alignment.of(2, forward=theta, initial=omega))
        assert found.steps[1].h_change == (-HALF, Fraction(change))
    assert [str(a.deficit) for a in found.alignment] == ["1/4", "1/4"]
    # IP-LLR: updates of W^2 add theta - 1, W_0^2 passes on -1/2.
    for theta, change in [("1", "0"), ("3/4", "-1/4"), ("1/2", "-1/2")]:
        found = analyze(preset("ip-llr", 2), steps=1, alignment=Alignment.of(2, forward=theta))
        assert found.steps[1].h_change == (0, Fraction(change))
    # Backward, entries -1 of W^2 add theta' beside 1/2 - 1 of W_0^2; the readout passes on -1.
    for back, size in [("1", "-1"), ("3/4", "-5/4"), ("1/2", "-3/2")]:
        given = Alignment.of(2, backward=back)
        setting = analyze(preset("ip-llr", 2), alignment=given).setting
        run = Propagation(preset("ip-llr", 2), setting)
        run.forward(0)
        run.backward(0)
        run.update(0, run.p.phase_at(0))
        run.forward(1)
        run.backward(1)
        assert run.entries()[1] == -1
        assert run.dh[0] == Fraction(size)


def test_all_steps_need_aligned_updates():
    # Layers feed each other slowly: decided at once if aligned; if not, iteration does not end.
    p = custom(1, a=["0", "0"], b=["10", "10"], c=["-1/200"] * 2)
    assert analyze(p).regime is Regime.UNSTABLE
    same = Alignment.of(1)
    assert analyze(p, alignment=same).regime is Regime.UNSTABLE
    deep = custom(2, a=["0"] * 3, b=["10", "1/2", "10"], c=["-1/200", "1", "-1/200"])
    assert analyze(deep, alignment=Alignment.of(2)).regime is Regime.UNSTABLE
    found = analyze(deep, alignment=Alignment.of(2, forward=[Fraction(99, 100), 1]))
    assert (found.regime, found.settled) == (Regime.MEASURE, False)


def test_bounds_that_differ_are_measured():
    p = preset("ip", 2)
    low, high = Alignment.of(2, forward="3/4"), Alignment.of(2)
    assert analyze(p, alignment=high).regime is Regime.FEATURE_LEARNING
    assert analyze(p, alignment=low).regime is Regime.TRIVIAL
    found = analyze(p, alignment=(low, high))
    assert found.regime is Regime.MEASURE
    assert "leave both trivial (lower) and feature_learning (upper) possible" in found.reason
    assert not found.steps[-1].exact
    assert analyze(p, alignment=(high, high)).regime is Regime.FEATURE_LEARNING
    # muP learns in layer 1, whose update has no sum over neurons, for any alignment of the others.
    assert analyze(preset("mup", 3), alignment=(Alignment.of(3, forward="3/4"), Alignment.of(3))).regime is (
        Regime.FEATURE_LEARNING
    )


eighths = st.integers(-12, 12).map(lambda n: Fraction(n, 8))
networks = st.integers(1, 4).flatmap(
    lambda n: st.tuples(*[st.lists(eighths, min_size=n + 1, max_size=n + 1)] * 3)
)


@given(networks, st.sampled_from(["sgd", "momentum", "sign"]))
def test_given_as_derived_changes_nothing(exponents, optimizer):
    p = custom(len(exponents[0]) - 1, *exponents)
    derived = analyze(p, optimizer=optimizer)
    found = analyze(p, optimizer=optimizer, alignment=Alignment.of(p.hidden_layers))
    assert (found.regime, found.steps, found.settled) == (derived.regime, derived.steps, derived.settled)


@given(
    networks,
    st.sampled_from(["sgd", "momentum", "sign"]),
    st.sampled_from(["relu", "relu^2", "tanh", "sigmoid"]),
    st.data(),
)
def test_sizes_grow_with_every_exponent(exponents, optimizer, activation, data):
    p = custom(len(exponents[0]) - 1, *exponents)
    between = st.integers(4, 8).map(lambda n: Fraction(n, 8))
    n = p.hidden_layers
    rows = [data.draw(st.lists(between, min_size=k, max_size=k)) for k in (n, n - 1, n)]
    more = [[data.draw(st.sampled_from([x, Fraction(1)])) for x in row] for row in rows]
    setting = {"optimizer": optimizer, "activation": activation, "steps": 2}
    low = analyze(p, alignment=Alignment(*map(tuple, rows)), **setting)
    high = analyze(p, alignment=Alignment(*map(tuple, more)), **setting)
    for mine, theirs in zip(low.steps, high.steps, strict=False):
        assert all(a <= b for a, b in zip((*mine.h, mine.f), (*theirs.h, theirs.f), strict=True))


def fields(call) -> list[str]:
    with pytest.raises(TheoryError) as raised:
        call()
    return [field for field, _ in raised.value.problems]


def test_what_is_refused_is_named():
    p = preset("mup", 3)
    outside = ["1/4", "1", "9/8"]
    assert fields(lambda: Alignment.of(3, forward=outside, initial="-1")) == [
        "alignment.forward[0]",
        "alignment.forward[2]",
        "alignment.initial",
    ]
    with pytest.raises(TheoryError, match=r"between 1/2 .* and 1 .*, not '1/4', in W\^2"):
        Alignment.of(3, forward=outside)
    assert fields(lambda: Alignment.of(3, forward=["1", "x"], backward=0.5)) == [
        "alignment.forward",
        "alignment.backward",
    ]
    assert fields(lambda: Alignment((Fraction(1),) * 3, (Fraction(1),), (HALF,) * 2)) == [
        "alignment.backward",
        "alignment.initial",
    ]
    assert fields(lambda: analyze(p, alignment="ful", epsilon="dominating", block_matrices=5)) == [
        "epsilon",
        "alignment",
        "block_matrices",
    ]
    for wrong in (
        Alignment.of(2),
        1,
        (Alignment.of(3),) * 3,
        (Alignment.of(3), Alignment.of(3, forward=HALF)),
    ):
        assert fields(lambda wrong=wrong: analyze(p, alignment=wrong)) == ["alignment"]
    assert fields(lambda: analyze(preset("ip-non-centered", 3), alignment="full")) == ["alignment"]
    assert fields(lambda: complete(p.a, p.b, alignment="half")) == ["alignment"]
    assert fields(lambda: Alignment.of("3")) == ["hidden_layers"]


def test_what_follows_an_analysis_uses_its_alignment():
    found = analyze(preset("ntk", 2), alignment="none")
    assert parts_of(found, 1)[1].update == -Fraction(3, 2) + HALF
    assert str(largest_rate_of(found)) == str(largest_stable_rate(preset("ntk", 2), alignment="none"))
    bounds = (Alignment.of(2, forward="1/2"), Alignment.of(2))
    assert "two bounds" in largest_rate_of(analyze(preset("ntk", 2), alignment=bounds))
    # Everett et al.: with full alignment SP's rates per layer are the largest stable ones.
    sp = preset("sp-per-layer", 3)
    assert largest_stable_rate(sp, alignment="full").stable == 0
    assert largest_stable_rate(sp).stable == -HALF
    assert found.to_dict()["assumed"] == [
        {"forward": ["1/2", "1/2"], "backward": ["1/2"], "initial": ["1/2", "1/2"]}
    ]


@pytest.mark.parametrize(
    ("activation", "first"),
    [("relu", ["1", "1", "1"]), ("tanh", ["1", "1/2", "1/2"]), ("gelu", ["1", "1/2", "1/2"])],
)
def test_alignment_as_derived(activation, first):
    # IP-LLR, as docs/theory.md has it: a random sum from layer 3 on unless x has a mean.
    found = derived_alignment(analyze(preset("ip-llr", 3), activation=activation), [1, 2, 5000])
    assert [(str(low), str(high)) for low, high in found[1].forward] == [(x, x) for x in first]
    later = {high for bounds in (found[2], found[5000]) for _, high in bounds.forward}
    assert later == {Fraction(1)}
    assert (found[2].forward[1] == (Fraction(1), Fraction(1))) is (activation == "relu")


def test_alignment_of_the_backward_pass_and_of_initial_matrices_as_derived():
    half, one = Fraction(1, 2), Fraction(1)
    found = derived_alignment(analyze(preset("mup", 3)), [1, 2])
    assert found[1].backward == found[2].backward == ((one, one),) * 2
    assert found[1].initial == ((half, half), (half, half), (one, one))
    # Later updates of the last hidden layer follow those of the readout as well.
    assert found[2].initial == ((half, half), (half, half), (half, one))
    # IP-LLR with tanh: nothing is shared by dh of two steps where h_1 outgrows h_0 but through W_0.
    tanh = derived_alignment(analyze(preset("ip-llr", 4), activation="tanh"), [1, 2])
    assert all(half <= low <= high <= one for low, high in tanh[1].backward)
    assert all(high == one for _, high in tanh[2].backward)


def test_nothing_is_derived_where_something_grows():
    assert set(derived_alignment(analyze(preset("sp", 2)), [1, 2])) == set()
    assert derived_alignment(analyze(preset("mup", 2)), []) == {}
