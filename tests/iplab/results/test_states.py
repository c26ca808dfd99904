"""States and regimes as the service sends them."""

import pytest

from iplab.results.states import ExperimentState, Regime, RunState, StudyState, StudyVerdict
from iplab.v1 import study_pb2, theory_pb2
from ipserver.store import states

REGIMES = [value.name for value in theory_pb2.Regime.DESCRIPTOR.values if value.number]


@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_of_the_service_has_words(name):
    regime = Regime.read(name.removeprefix("REGIME_"))
    assert regime is not Regime.UNKNOWN
    words = name.removeprefix("REGIME_").lower().replace("_", " ")
    assert regime.words == ("not settled" if words == "measure" else words)
    assert regime.meaning


def test_a_regime_of_a_newer_service_is_unknown():
    assert Regime.read("SOMETHING_NEW").words == "not covered"


@pytest.mark.parametrize("ours", [ExperimentState, RunState, StudyState])
def test_a_state_of_a_newer_service_is_unknown_and_no_end(ours):
    assert ours.read("SUCCEEDED") is ours.SUCCEEDED
    assert ours.read("SOMETHING_NEW") is ours.UNKNOWN
    assert not ours.UNKNOWN.terminal


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ExperimentState, states.ExperimentState),
        (RunState, states.RunState),
        (StudyState, states.StudyState),
    ],
)
def test_client_and_store_have_the_states_of_the_protos(ours, theirs):
    assert [(state.name, state.terminal) for state in ours][1:] == [
        (state.name, state.terminal) for state in theirs
    ]


def test_verdicts_of_studies_are_those_of_the_proto():
    values = study_pb2.StudyVerdict.DESCRIPTOR.values
    names = [value.name.removeprefix("STUDY_VERDICT_") for value in values if value.number]
    assert [verdict.name for verdict in StudyVerdict][1:] == names


def test_ends_are_final_results():
    """Said once by hand: the protos' comments say it, and what is generated from them follows."""
    assert {state.value for state in RunState if state.terminal} == {
        "SUCCEEDED",
        "DIVERGED",
        "FAILED",
        "CANCELLED",
    }
    for kind in (ExperimentState, StudyState):
        assert {state.value for state in kind if state.terminal} == {"SUCCEEDED", "FAILED", "CANCELLED"}
