"""A small version of `python -m reproduction study-errors`: error rates, and no more runs than they take."""

import pytest

from reproduction.study_errors import ROWS, summed
from reproduction.study_worlds import study

BY_NAME = {row.name: row for row in ROWS}


def studies(name, count, first=0):
    row = BY_NAME[name]
    return summed(row, [study(row.question, row.world(key)) for key in range(first, first + count)]).values


@pytest.mark.parametrize(
    ("name", "agrees", "disagrees", "runs"),
    [
        ("0 (.1)", 1.0, 0.0, 82),
        ("0 (.2)", 1.0, 0.0, 249),
        (".5 (.2)", 0.0, 1.0, 56),
        ("-.5 (.2)", 0.0, 1.0, 56),
        ("drift 0, guess 4 octaves high", 1.0, 0.0, 253),
        ("drift -1 against -1, guess 3 high", 1.0, 0.0, 256),
        ("drift -1 against 0", 0.0, 1.0, 158),
    ],
)
def test_clear_truths_are_decided_in_no_more_runs(name, agrees, disagrees, runs):
    found = studies(name, 16)
    assert (found["agrees"], found["disagrees"]) == (agrees, disagrees)
    assert found["runs"] < 1.25 * runs


@pytest.mark.parametrize("name", [".1 = edge (.2)", "drift .25 = edge"])
def test_a_truth_at_the_edge_is_rarely_decided_wrongly(name):
    """Right: one study in twenty; more than five of twenty-four come by chance in one test in a thousand."""
    found = studies(name, 24)
    assert found["agrees"] + found["disagrees"] <= 5 / 24
