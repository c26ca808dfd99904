"""Brackets of best rates and windows of seeds, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.studies.bracket import Bracket, Point, Window, bracket, window


def measured(loss, untrained=10.0, diverged=lambda k: False):
    return lambda k: Point(untrained if diverged(k) else loss(k), untrained, diverged(k))


@given(st.integers(-20, 20), st.integers(-3, 3))
def test_a_parabola_is_bracketed_wherever_it_lies(best, start):
    found = bracket(measured(lambda k: (k - best) ** 2 / 100, untrained=1e9), start)
    assert found == Bracket(best, ())


@given(st.integers(-12, 12), st.integers(1, 3), st.integers(-12, 12))
def test_what_diverges_counts_as_untrained(best, cliff, start):
    """The best rate lies below rates that diverge, and is found from a start at which everything does."""

    def diverges(k):
        return k > best + cliff

    found = bracket(measured(lambda k: min((k - best) ** 2 / 100, 9.9), diverged=diverges), start)
    assert found.centre is not None
    assert abs(found.centre - best) <= 1


def test_the_order_of_questions():
    asked = []
    known = {}
    while not (found := bracket(known.get, 0)).centre:
        if not found.wanted:
            break
        asked.append(found.wanted)
        known |= {k: measured(lambda k: (k - 5.2) ** 2 / 100)(k) for k in found.wanted}
    # Start and two octaves to both sides; two further; an octave and half an octave beside the best.
    assert asked == [(-4, 0, 4), (8,), (2, 3, 5, 6)]
    assert found.centre == 5


def test_where_nothing_learns_four_octaves_are_skipped():
    assert bracket({-4: Point(1, 1, True), 0: Point(1, 1, True), 4: Point(1, 1, True)}.get, 0).wanted == (
        -12,
    )
    assert bracket({k: Point(1, 1, False) for k in (-4, 0, 4)}.get, 0).wanted == (12,)


@pytest.mark.parametrize("diverged", [True, False])
def test_no_best_rate_is_no_bracket(diverged):
    assert bracket(lambda k: Point(1.0, 1.0, diverged), 0) == Bracket(None, ())


def test_a_window_goes_up_until_it_diverges_and_down_to_four():
    assert window(lambda k: False, 0) == Window((-2, -1, 0, 1, 2), ())
    assert window(lambda k: k >= 2, 0) == Window((-2, -1, 0, 1), ())
    assert window(lambda k: k >= 0, 0) == Window((-4, -3, -2, -1), ())
    # A rate above one that diverges does not count, though it was measured.
    assert window(lambda k: k == 0, 0).points == (-4, -3, -2, -1)
    # All below diverge: not complete, and nothing to measure.
    stuck = window(lambda k: True, 0)
    assert (stuck.wanted, stuck.complete) == ((), False)


def test_a_window_asks_only_for_what_is_missing():
    known = dict.fromkeys((-2, -1, 0), False) | {1: True}
    assert window(known.get, 0) == Window((-2, -1, 0), (-3,))
    assert window({-2: False}.get, 0).wanted == (-1, 0, 1, 2)
