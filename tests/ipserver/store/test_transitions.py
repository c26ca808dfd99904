"""Transitions: terminal states are final, cancelling only ends, experiments take only the listed steps."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.store.states import ExperimentState, PackState, RunState, experiment_state
from ipserver.store.transitions import (
    Change,
    ForbiddenMove,
    moves,
    require_experiment_move,
    require_pack_move,
)

STEPS = {
    step
    for change, pausing in product(Change, [False, True])
    for step in moves(change, pausing=pausing).items()
}


def test_every_step_of_a_run():
    """Transitions by hand, from the diagram in the module."""
    assert {(before.value, after.value) for before, after in STEPS} == {
        ("QUEUED", "RUNNING"),
        ("QUEUED", "PAUSED"),
        ("QUEUED", "CANCELLED"),
        ("QUEUED", "FAILED"),
        ("RUNNING", "QUEUED"),
        ("RUNNING", "PAUSED"),
        ("RUNNING", "SUCCEEDED"),
        ("RUNNING", "DIVERGED"),
        ("RUNNING", "FAILED"),
        ("RUNNING", "CANCELLING"),
        ("PAUSED", "QUEUED"),
        ("PAUSED", "CANCELLED"),
        ("PAUSED", "FAILED"),
        ("CANCELLING", "CANCELLED"),
        ("FAILED", "QUEUED"),
        ("FAILED", "PAUSED"),
    }


@pytest.mark.parametrize("change", Change)
def test_a_change_moves_no_run_twice(change):
    """The store makes the moves of a change one after another."""
    for pausing in (False, True):
        table = moves(change, pausing=pausing)
        assert not set(table) & set(table.values())


# Those that nobody asks for: only a retry leaves a terminal state.
UNASKED = sorted(set(Change) - {Change.RETRY})


@given(st.lists(st.tuples(st.sampled_from(UNASKED), st.booleans())))
def test_any_walk_of_a_run(walk):
    """For all sequences without a retry: terminal states are final, and cancelled runs only end CANCELLED."""
    state, cancelled = RunState.QUEUED, False
    for change, pausing in walk:
        before, state = state, moves(change, pausing=pausing).get(state, state)
        assert not before.terminal or state is before
        assert not cancelled or state in {RunState.CANCELLING, RunState.CANCELLED} or before.terminal
        cancelled = cancelled or (change is Change.CANCEL and not before.terminal)


def reachable(counts, cancelling, pausing):
    """Whether the store can have an experiment with runs in these states."""
    if cancelling:
        return not any(counts[state] for state in (RunState.QUEUED, RunState.PAUSED, RunState.RUNNING))
    return not counts[RunState.QUEUED if pausing else RunState.PAUSED]


def changed(runs, change, chosen, pausing):
    table = moves(change, pausing=pausing)
    return [table.get(state, state) if pick else state for state, pick in zip(runs, chosen, strict=True)]


def experiments(size):
    for runs in combinations_with_replacement(RunState, size):
        for cancelling, pausing in ((False, False), (True, False), (False, True)):
            if reachable(Counter(runs), cancelling, pausing):
                yield list(runs), cancelling, pausing


def all_experiment_steps():
    """Steps of experiments of up to three runs: a change of some runs, or a user's request."""
    for runs, cancelling, pausing in (case for size in (1, 2, 3) for case in experiments(size)):
        before = experiment_state(Counter(runs), cancelling=cancelling, pausing=pausing)
        outcomes = []
        for change in set(UNASKED) - {Change.PAUSE, Change.RESUME}:
            if change is Change.LEASE and pausing:
                continue
            outcomes += [
                (changed(runs, change, chosen, pausing), cancelling, pausing)
                for chosen in product([False, True], repeat=len(runs))
            ]
        everyone = [True] * len(runs)
        if not before.terminal and not cancelling:
            outcomes.append((changed(runs, Change.CANCEL, everyone, False), True, False))
            outcomes.append((changed(runs, Change.PAUSE, everyone, True), False, True))
        if not before.terminal and pausing:
            outcomes.append((changed(runs, Change.RESUME, everyone, False), False, False))
        for later, is_cancelling, is_pausing in outcomes:
            assert reachable(Counter(later), is_cancelling, is_pausing), (runs, later)
            after = experiment_state(Counter(later), cancelling=is_cancelling, pausing=is_pausing)
            if after is not before:
                yield before, after


def test_the_table_of_experiments_lists_the_steps_that_there_are_and_no_others():
    found = set(all_experiment_steps())
    listed = set()
    for before, after in product(ExperimentState, repeat=2):
        try:
            require_experiment_move(before, after)
        except ForbiddenMove:
            continue
        listed.add((before, after))
    assert found == listed
    assert not any(before.terminal for before, _ in listed)
    assert {after for before, after in listed if before is ExperimentState.CANCELLING} == {
        ExperimentState.CANCELLED,
        ExperimentState.FAILED,
    }


def test_failed_runs_of_any_experiment_that_was_not_cancelled_may_be_retried():
    ended = set()
    for runs, cancelling, pausing in (case for size in (1, 2, 3) for case in experiments(size)):
        before = experiment_state(Counter(runs), cancelling=cancelling, pausing=pausing)
        if cancelling or RunState.FAILED not in runs:
            continue
        # A pause that came too late is forgotten.
        pausing = pausing and not before.terminal  # noqa: PLW2901 - as the store does
        for chosen in product([False, True], repeat=len(runs)):
            later = changed(runs, Change.RETRY, chosen, pausing)
            after = experiment_state(Counter(later), pausing=pausing)
            if after is not before:
                require_experiment_move(before, after, goes_on=True)
                ended |= {(before, after)} if before.terminal else set()
    assert ended == {
        (ExperimentState.FAILED, ExperimentState.QUEUED),
        (ExperimentState.FAILED, ExperimentState.RUNNING),
    }
    with pytest.raises(ForbiddenMove):
        require_experiment_move(ExperimentState.CANCELLED, ExperimentState.RUNNING, goes_on=True)


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [
        (PackState.QUEUED, PackState.LEASED, True),
        (PackState.QUEUED, PackState.DONE, True),
        (PackState.LEASED, PackState.QUEUED, True),
        (PackState.LEASED, PackState.DONE, True),
        (PackState.LEASED, PackState.LEASED, False),
        (PackState.DONE, PackState.QUEUED, False),
        (PackState.DONE, PackState.LEASED, False),
    ],
)
def test_steps_of_packs(before, after, may):
    if may:
        require_pack_move(before, after)
    else:
        with pytest.raises(ForbiddenMove, match=f"a pack that is {before} cannot become {after}"):
            require_pack_move(before, after)
