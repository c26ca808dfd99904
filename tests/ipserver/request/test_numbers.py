"""Numbers of a spec outside of single precision are refused at submission, or give a warning."""

import pytest

from ipserver.request.limits import limits_with
from ipserver.request.validate import check_create
from tests.ipserver.request.requests import CAPACITY, GRID, grid, spec, violations

SPEC = "experiment.spec"


def warned(request):
    return check_create(request, limits_with(), CAPACITY).warnings


def test_decay_that_nothing_would_be_seen_of_is_refused():
    """20 updates at rates .1 and .2: eta lambda over all of them is 4 lambda at most, and 2^-24 = 6e-8."""
    found = violations(spec(optimizer={"weight_decay": 1e-8}))
    assert set(found) == {f"{SPEC}.optimizer.weight_decay"}
    (message,) = found.values()
    assert message == (
        "1e-08 times the largest base learning rate 0.2 takes at most 4.0e-08 from the weights "
        "in all 20 updates, less than single precision can hold (6.0e-08): it has no effect; "
        "raise it, or leave it out"
    )


def test_decay_that_can_be_seen_at_some_rates_is_accepted_with_a_warning():
    (warning,) = warned(spec(optimizer={"weight_decay": 2e-8}))
    assert warning == (
        "weight decay 2e-08 takes less than 6.0e-08 from the weights in all 20 updates at base learning "
        "rates up to 0.1: single precision cannot show it there"
    )
    assert warned(spec(optimizer={"weight_decay": 1e-7})) == ()
    # Too small for one update, but not for all: eta lambda = 2e-8 over 5,000 updates.
    assert warned(spec(optimizer={"weight_decay": 1e-7}, steps=5000)) == ()


def test_momentum_too_near_one():
    found = violations(spec(optimizer={"name": "momentum", "momentum": 0.99999999}))
    assert found[f"{SPEC}.optimizer.momentum"].startswith("must be at most 0.999996")


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "step", "milestones": [1, 2, 3], "decay": 1e-13},
        {"name": "cosine", "final_fraction": 1e-40},
        {"name": "linear", "final_fraction": 1e-300},
    ],
)
def test_schedules_that_let_rates_vanish(schedule):
    found = violations(spec(schedule=schedule))
    assert set(found) == {f"{SPEC}.schedule"}
    assert "at the schedule's least factor" in found[f"{SPEC}.schedule"]
    assert found[f"{SPEC}.schedule"].endswith("too small; choose a larger final rate")


def test_a_rate_that_does_not_fit_is_not_named_again_for_its_schedule():
    found = violations(
        grid(parameterizations__1__exponents={"a": ["0"] * 3, "b": ["0"] * 3, "c": ["0", "30", "0"]})
    )
    assert set(found) == {f"{GRID}.parameterizations[1].exponents.c"}
