"""Which packs are tried again, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.environment.settings import load_settings
from ipserver.scheduling.retries import Action, Rest, decide
from ipserver.store.states import FailureReason

SETTINGS = load_settings(max_attempts=4, max_attempts_lease_lost=10, max_attempts_out_of_memory=2)
BUDGETS = {
    FailureReason.WORKER_LOST: 4,
    FailureReason.LEASE_LOST: 10,
    FailureReason.OUT_OF_MEMORY: 2,
}


@pytest.mark.parametrize(("cause", "budget"), BUDGETS.items())
def test_each_cause_has_its_own_budget(cause, budget):
    others = dict.fromkeys(FailureReason, 1000)

    actions = [decide(cause, {**others, cause: times}, SETTINGS).action for times in range(1, budget + 2)]

    assert actions == [Action.RETRY] * (budget - 1) + [Action.FAIL] * 2


@pytest.mark.parametrize("cause", [FailureReason.TRAINING_ERROR, FailureReason.DATA_UNAVAILABLE])
def test_what_a_second_try_would_meet_again_is_not_tried_again(cause):
    assert decide(cause, {}, SETTINGS).action is Action.FAIL


@given(st.dictionaries(st.sampled_from(FailureReason), st.integers(0, 10**6)))
def test_files_without_room_use_up_nothing(fruitless):
    decision = decide(FailureReason.ARTIFACTS_UNAVAILABLE, fruitless, SETTINGS)

    assert (decision.action, decision.left) == (Action.RETRY, None)


def test_people_read_how_many_tries_are_left():
    said = [
        str(decide(FailureReason.WORKER_LOST, {FailureReason.WORKER_LOST: n}, SETTINGS)) for n in (2, 3, 4)
    ]

    assert said == ["is tried again (2 more tries)", "is tried again (1 more try)", "failed"]
    assert str(decide(FailureReason.ARTIFACTS_UNAVAILABLE, {}, SETTINGS)) == "is tried again"


def test_rests_grow_up_to_five_minutes_and_begin_anew():
    rest, now, lengths = Rest(), 0.0, []
    assert rest.over(now)
    for _ in range(10):
        rest.extend(now)
        rest.extend(now + 1)  # another pack with the same problem
        assert not rest.over(now + rest.seconds - 0.1)
        lengths.append(rest.until - now)
        now = rest.until
        assert rest.over(now)

    assert lengths == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    rest.reset()
    rest.extend(now)
    assert rest.until == now + 2
