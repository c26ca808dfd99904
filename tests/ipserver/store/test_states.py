"""The experiment's state follows from its runs' states, and the protos know every state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iplab.v1 import experiment_pb2, run_pb2
from ipserver.store.states import ExperimentState, FailureReason, RunState, experiment_state

Q, R, C = RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING
P = RunState.PAUSED
S, D, F, X = RunState.SUCCEEDED, RunState.DIVERGED, RunState.FAILED, RunState.CANCELLED


@pytest.mark.parametrize(
    ("counts", "asked", "expected"),
    [
        ({Q: 3}, "", "QUEUED"),
        ({Q: 2, R: 1}, "", "RUNNING"),
        ({Q: 2, S: 1}, "", "RUNNING"),
        ({R: 1, C: 1}, "", "RUNNING"),
        ({P: 3}, "pausing", "PAUSED"),
        ({P: 1, S: 1, X: 1}, "pausing", "PAUSED"),
        ({P: 2, R: 1}, "pausing", "PAUSING"),
        ({P: 2, C: 1}, "pausing", "PAUSING"),
        ({R: 1, S: 1}, "pausing", "PAUSING"),
        ({S: 2}, "pausing", "SUCCEEDED"),
        ({C: 1, X: 1}, "cancelling", "CANCELLING"),
        ({S: 2, D: 1}, "", "SUCCEEDED"),
        ({S: 2, X: 1}, "", "CANCELLED"),
        ({S: 1, X: 1, F: 1}, "cancelling", "FAILED"),
        ({S: 2, Q: 0}, "cancelling", "SUCCEEDED"),
    ],
)
def test_states_by_hand(counts, asked, expected):
    wishes = {asked: True} if asked else {}
    assert experiment_state(counts, **wishes).value == expected


@given(
    st.dictionaries(st.sampled_from(RunState), st.integers(0, 5)).filter(lambda counts: sum(counts.values())),
    st.booleans(),
    st.booleans(),
)
def test_an_experiment_is_terminal_exactly_if_all_its_runs_are(counts, cancelling, pausing):
    terminal = all(state.terminal for state, number in counts.items() if number)
    state = experiment_state(counts, cancelling=cancelling, pausing=pausing)
    assert state.terminal == terminal


@pytest.mark.parametrize(
    ("states", "enum", "prefix"),
    [
        (ExperimentState, experiment_pb2.ExperimentState, "EXPERIMENT_STATE_"),
        (RunState, run_pb2.RunState, "RUN_STATE_"),
        (FailureReason, run_pb2.FailureReason, "FAILURE_REASON_"),
    ],
)
def test_the_protos_have_the_same_states(states, enum, prefix):
    assert {f"{prefix}{state.value}" for state in states} | {f"{prefix}UNSPECIFIED"} == set(enum.keys())
