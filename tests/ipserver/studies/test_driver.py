"""Studies with real training: rounds, verdicts, cancellation, and drivers that die at any point."""

import pytest
import torch

from ipcore import Network, load_dataset
from ipcore.randomness import probe_examples
from ipserver import failpoints
from ipserver.errors import Fenced, StoreUnavailable
from ipserver.request.stored import stored_spec
from ipserver.request.study import accept_study, check_study
from ipserver.store.records.studies import StudyRecord
from ipserver.store.states import ExperimentState, RunState, StudyState
from ipserver.studies import driver as driver_module
from ipserver.studies.outputs import Outputs
from tests.ipserver.studies.cases import LIMITS, Lab, ask, driver, runs_of, study_request
from tests.ipserver.support import settings_in, small_spec, store_in, submit


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, checkpoint_seconds=1e9)


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def lab(store, settings):
    lab = Lab(store, settings)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The study, driven without interruption: its record and its runs."""
    settings = settings_in(tmp_path_factory.mktemp("home"), checkpoint_seconds=1e9)
    store = store_in(settings)
    lab = Lab(store, settings)
    ask(store)
    record = lab.drive(driver(store))
    lab.close()
    return record, runs_of(store, record)


def test_a_study_is_answered_by_experiments_of_its_own(undisturbed):
    record, runs = undisturbed
    assert (record.state, record.outcome.verdict, record.outcome.reason) == (
        StudyState.SUCCEEDED,
        "AGREES",
        "DECIDED",
    )
    assert record.ended_runs == record.asked_runs == len(runs)
    assert record.outcome.core_seconds > 0
    assert "ntk (relu, 2 hidden layers)" in record.outcome.sentence
    (answer,) = record.outcome.answers
    assert [cell["name"] for cell in answer["cells"]] == ["h^1 at step 0", "h^2 at step 0", "f at step 0"]
    assert all(cell["low"] < cell["value"] < cell["high"] for cell in answer["cells"])
    assert all(one.done and one.learned for one in record.rounds)


def test_experiments_are_ordinary_and_say_whose_they_are(store, lab):
    record = ask(store, study={"labels": {"team": "theory"}, "priority": 7})
    driver(store).step()
    record = store.get_study("s")
    assert record.experiments
    for name in record.experiments:
        experiment = store.get_experiment(name)
        assert name.startswith(f"s-{record.uid[:6]}-")
        assert experiment.labels == {"team": "theory", "study": "s"}
        assert (experiment.priority, experiment.state) == (7, ExperimentState.QUEUED)


POINTS = [
    f"{name}.{phase}"
    for name in ("round", "create", "extend", "asked", "verdict")
    for phase in ("before", "during", "after")
]


@pytest.mark.parametrize("point", POINTS)
def test_a_driver_may_die_at_any_point(store, lab, undisturbed, monkeypatch, point):
    """Three drivers die, one after another, where they pass the point; a fourth one goes on."""
    ask(store)
    died = []

    def hit(name):
        if name == point and len(died) < 3:
            died.append(name)
            raise Killed

    monkeypatch.setattr(failpoints, "hit", hit)
    for number in range(4):
        try:
            lab.drive(driver(store, f"d{number}", lease_seconds=0.0))
        except Killed:
            continue
        break
    assert died
    record, runs = undisturbed
    found = store.get_study("s")
    assert (found.outcome.verdict, found.outcome.reason) == (record.outcome.verdict, record.outcome.reason)
    assert [(one.number, one.why, one.runs) for one in found.rounds] == [
        (one.number, one.why, one.runs) for one in record.rounds
    ]
    assert runs_of(store, found) == runs


def test_a_driver_that_was_overtaken_asks_for_nothing(store, lab, monkeypatch):
    ask(store)
    slow, quick = driver(store, "slow", lease_seconds=0.0), driver(store, "quick")
    create = driver_module.create

    def late(*args):
        """Between the plan of the round and its actions, another driver takes over."""
        monkeypatch.setattr(driver_module, "create", create)
        (taken,) = store.lease_studies("quick", 60)
        store.cancel_study("s")
        quick.step()
        assert store.get_study("s").state is StudyState.CANCELLED
        assert taken.token == 2
        return create(*args)

    monkeypatch.setattr(driver_module, "create", late)
    slow.step()
    assert store.list_experiments(limit=10) == []


def test_cancelling_ends_the_experiments_and_keeps_what_is_known(store, lab):
    ask(store)
    one = driver(store)
    one.step()
    lab.train()
    one.step()  # the second round
    store.cancel_study("s")
    for _ in range(3):
        one.step()
        lab.train()
    record = store.get_study("s")
    assert (record.state, record.outcome.reason) == (StudyState.CANCELLED, "CANCELLED")
    assert record.outcome.sentence.startswith("It was cancelled.")
    assert all(store.get_experiment(name).state.terminal for name in record.experiments)
    assert one.step() == 0


def test_what_a_study_does_is_in_the_audit_log_once(store, lab):
    record = ask(store)
    one = driver(store)
    one.step()
    lab.train()
    one.step()  # the second round
    for _ in range(2):
        one.step()
    store.cancel_study("s")
    for _ in range(3):
        one.step()
        lab.train()
    record = store.get_study("s")
    acts = [action for one in record.rounds for action in one.actions]
    asked = [("Create" if "create" in it else "Extend", it["experiment"]) for it in acts]
    assert {kind for kind, _ in asked} == {"Create", "Extend"}
    found = store.audit_entries(limit=99)[::-1]
    told = [(it.method.split("/")[1].removesuffix("Experiment"), it.resource.split("/")[1]) for it in found]
    stopped = {name for kind, name in told if kind == "Cancel"}
    assert told[: len(asked)] == asked
    assert stopped
    assert told[len(asked) :] == [("Cancel", name) for name in record.experiments if name in stopped]
    assert {(it.user, it.project, it.code, it.calls) for it in found} == {("study s", "default", "OK", 1)}


def test_the_audit_log_says_for_whom_a_study_works(store):
    accept_study(store, study_request(), check_study(study_request(), LIMITS, None), "alice")
    driver(store).step()
    assert {entry.user for entry in store.audit_entries(limit=99)} == {"study s for alice"}


def test_an_experiment_cancelled_by_hand_ends_the_study(store, lab):
    ask(store)
    one = driver(store)
    one.step()
    name = store.get_study("s").experiments[0]
    store.cancel_experiment(name)
    record = lab.drive(one)
    assert record.state is StudyState.FAILED
    assert "cancelled" in record.outcome.sentence
    assert {run.state for run in store.list_runs(name, limit=99)} == {RunState.CANCELLED}


def test_a_study_that_cannot_be_driven_does_not_stop_the_others(store, lab, monkeypatch):
    ask(store, "broken", grid={"base_learning_rates": [0.2]}, base={"steps": 3})
    ask(store)
    plan = driver_module.studies.plan

    def failing(question, results):
        if question.subjects[0].rate == 0.2 and results.runs:
            raise ZeroDivisionError("a defect")
        return plan(question, results)

    monkeypatch.setattr(driver_module.studies, "plan", failing)
    record = lab.drive(driver(store))
    assert record.outcome.verdict == "AGREES"
    broken = store.get_study("broken")
    assert (broken.state, broken.outcome.reason) == (StudyState.FAILED, "FAILED")
    assert broken.outcome.sentence == "The study cannot continue: ZeroDivisionError: a defect"


def test_an_outage_of_the_store_ends_nothing(store, monkeypatch):
    ask(store)

    def gone(*args):
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "begin_round", gone)
        with pytest.raises(StoreUnavailable):
            driver(store).step()
    assert store.get_study("s").state is StudyState.RUNNING


def test_a_fenced_step_is_left_to_the_next_driver(store, monkeypatch):
    ask(store)

    def fenced(*args):
        raise Fenced("another one")

    monkeypatch.setattr(store, "begin_round", fenced)
    assert driver(store).step() == 1
    assert store.get_study("s").state is StudyState.RUNNING


def test_outputs_of_two_parameterizations_are_compared(store, lab):
    """muP and IP-LLR are different networks: their distance after an update does not fall."""
    two = {"parameterizations": [{"preset": "ip-llr"}, {"preset": "mup"}]}
    ask(store, spec={"coordinate_check": None, "equivalence": {}, "tolerance": None}, grid=two)
    record = lab.drive(driver(store))
    assert record.outcome.verdict == "NO_PREDICTION"
    assert "so it does not fall with the width" in record.outcome.sentence
    spec = stored_spec(store.get_experiment(record.experiments[0]).spec)
    assert (spec.steps, spec.record.weights) == (1, "initial_and_final")


def test_weights_are_kept_only_where_outputs_are_wanted(store):
    ask(store)
    driver(store).step()
    spec = stored_spec(store.get_experiment(store.get_study("s").experiments[0]).spec)
    assert spec.record.weights == "none"


def test_outputs_are_those_of_the_kept_weights(store, settings, lab):
    submit(store, small_spec(steps=4, record={"weights": "every", "weights_interval": 2}), "e")
    lab.train()
    run = store.get_run("e", 0)
    outputs = Outputs(store, settings.artifact_root, None)
    train = load_dataset("digits").train
    inputs = torch.from_numpy(train.inputs[probe_examples(len(train), 64)])
    for step, name in ((0, "initial"), (2, "000002"), (4, "final")):
        (file,) = (one for one in store.artifacts("e", 0) if one.step == step)
        assert name in file.path
        network = Network.load(settings.home / "artifacts" / file.location)
        expected = network.forward(inputs).flatten().tolist()
        assert outputs.at(run, "digits", step) == tuple(expected)
    assert outputs.at(run, "digits", 3) is None


def test_all_diverged(store, lab):
    """No rate in reach of the first one trains: the study says so, and does not search for ever."""
    ask(
        store,
        spec={"coordinate_check": None, "rate_transfer": {}, "tolerance": None},
        base={"steps": 3},
        grid={"base_learning_rates": [1e30]},
    )
    record = lab.drive(driver(store))
    assert (record.state, record.outcome.verdict) == (StudyState.SUCCEEDED, "UNDECIDED")
    assert {run.state for name in record.experiments for run in store.list_runs(name, limit=999)} == {
        RunState.DIVERGED
    }
    assert record.outcome.sentence


def test_a_round_that_has_begun_is_finished_after_the_wall_time(store, lab, monkeypatch):
    ask(store, "s", spec={"budget": {"wall_seconds": 600}})
    one = driver(store)
    one.step()
    (first,) = store.get_study("s").rounds
    monkeypatch.setattr(StudyRecord, "wall_seconds", property(lambda _: 601.0))
    ended = lab.drive(one)
    assert (len(ended.rounds), ended.ended_runs, ended.outcome.reason) == (1, first.runs, "BUDGET")
    assert "the budget of 600 s of wall time does not pay for the next round" in ended.outcome.sentence


def test_a_study_waits_for_room_within_the_limits_of_its_project(store, lab, undisturbed):
    submit(store, small_spec())
    store.accounts.set_quota("default", "", "live_experiments", 1)
    ask(store)
    driver(store).step()
    study = store.get_study("s")
    assert (study.state, store.list_experiments(limit=9)[0].id) == (StudyState.RUNNING, "e")
    store.cancel_experiment("e")
    # One experiment of a round after the other, and in the end the same runs.
    ended = lab.drive(driver(store))
    assert (ended.state, runs_of(store, ended)) == (StudyState.SUCCEEDED, undisturbed[1])


def test_a_study_that_is_beyond_a_limit_by_itself_fails_and_says_so(store, lab):
    store.accounts.set_quota("default", "", "queued_runs", 1)
    ask(store)
    ended = lab.drive(driver(store))
    assert ended.state is StudyState.FAILED
    assert "of 1 queued_runs" in ended.outcome.sentence
