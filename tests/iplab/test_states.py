"""States and regimes as the service sends them."""

import pytest

from iplab.states import ExperimentState, Regime, RunState
from iplab.v1 import experiment_pb2, run_pb2, theory_pb2
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


@pytest.mark.parametrize(
    ("ours", "enum", "prefix", "theirs"),
    [
        (ExperimentState, experiment_pb2.ExperimentState, "EXPERIMENT_STATE_", states.ExperimentState),
        (RunState, run_pb2.RunState, "RUN_STATE_", states.RunState),
    ],
)
def test_states_are_those_of_the_proto_and_final_where_the_service_says_so(ours, enum, prefix, theirs):
    names = [value.name.removeprefix(prefix) for value in enum.DESCRIPTOR.values if value.number]
    assert sorted(state.name for state in ours if state.name != "UNKNOWN") == sorted(names)
    assert {name for name in names if ours[name].terminal} == {s.name for s in theirs if s.terminal}
