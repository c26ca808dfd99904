"""Creating, listing and cancelling experiments over a real channel."""

import asyncio
import copy
import uuid

import grpc
import pytest

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.store.records.cluster import CapacityReport, DatasetReport

QUEUED = experiment_pb2.EXPERIMENT_STATE_QUEUED


async def test_an_accepted_experiment_is_complete_and_durable(api):
    created = await api.create(
        experiment={"display_name": "First", "labels": {"team": "theory"}, "priority": 3}
    )
    assert created.name == "experiments/e"
    assert (created.state, created.counts.total, created.counts.queued) == (QUEUED, 4, 4)
    assert (created.total_steps, created.committed_steps) == (80, 0)
    assert (created.display_name, dict(created.labels), created.priority) == ("First", {"team": "theory"}, 3)
    assert created.spec.loss == "cross_entropy"
    assert created.run_memory_bytes > 0
    assert len(created.spec_hash) == 64
    assert created.create_time.seconds > 0
    assert not created.HasField("start_time")
    assert await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e")) == created
    assert len(api.store.list_runs("e", limit=10)) == 4


async def test_every_wrong_field_is_named_and_nothing_is_created(api, request_of):
    request = request_of(
        "Not/An/Id",
        spec={"dataset": "minst", "steps": 0},
        grid={"widths": [0], "base_learning_rates": [-1.0]},
    )
    failed = await api.fails(api.experiments.CreateExperiment(request))
    assert (failed.code, failed.reason, failed.domain) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "iplab",
    )
    assert set(failed.violations) == {
        "experiment_id",
        "experiment.spec.dataset",
        "experiment.spec.steps",
        "experiment.spec.grid.widths[0]",
        "experiment.spec.grid.base_learning_rates[0]",
    }
    assert failed.message.startswith("5 wrong fields: experiment_id: ")
    assert api.store.list_experiments(limit=10) == []


def _entry(**lists):
    return {"label": "mine", "exponents": {"a": ["0"] * 3, "b": ["0"] * 3, "c": ["0"] * 3} | lists}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"spec": {"dataset": "minst"}}, {"dataset"}),
        ({"spec": {"batch_size": 1438}}, {"batch_size"}),
        ({"spec": {"resources": {"cpus": 0.00001}}}, {"resources.cpus"}),
        ({"grid": {"parameterizations": [{"preset": "mupp"}]}}, {"grid.parameterizations[0].preset"}),
        (
            {"grid": {"activations": ["rellu", "relu", "relu"]}},
            {"grid.activations[0]", "grid.activations[2]"},
        ),
        ({"grid": {"widths": [0, -1, 2**31 - 1]}}, {f"grid.widths[{i}]" for i in range(3)}),
        ({"grid": {"widths": [65_536]}}, {"grid.widths[0]"}),
        ({"grid": {"widths": [], "seeds": []}}, {"grid.widths", "grid.seeds"}),
        (
            {"grid": {"base_learning_rates": ["NaN", "Infinity", -0.1, 0, 1e39]}},
            {f"grid.base_learning_rates[{i}]" for i in range(5)},
        ),
        (
            {"grid": {"parameterizations": [_entry(a=["1/0", "abc", "0"], c=["0"] * 7)]}},
            {f"grid.parameterizations[0].exponents.{place}" for place in ("a[0]", "a[1]", "c")},
        ),
        (
            {"grid": {"parameterizations": [_entry(c=["0", "-60", "0"])]}},
            {"grid.parameterizations[0].exponents.c"},
        ),
        (
            {
                "spec": {
                    "optimizer": {"name": "adam", "momentum": 0.9},
                    "schedule": {"name": "step"},
                    "validation_size": -1,
                    "record": {"probes": {"quantities": ["ranks"], "layers": [9], "steps": [0]}},
                },
                "grid": {"parameterizations": [{"preset": "hp"}, {"preset": "ip", "calibration": {}}]},
            },
            {
                "optimizer.momentum",
                "schedule.milestones",
                "validation_size",
                "record.probes.layers[0]",
                "grid.parameterizations[0].preset",
                "grid.parameterizations[1].calibration",
            },
        ),
        ({"grid": {"seeds": list(range(1000)), "hidden_layers": list(range(1, 1001))}}, {"grid"}),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_created(api, request_of, changes, fields):
    expected = {f"experiment.spec.{field}" for field in fields}
    for name, wrong in (("e", set()), ("a/b", {"experiment_id"}), ("x" * 300, {"experiment_id"})):
        failed = await api.fails(api.experiments.CreateExperiment(request_of(name, **copy.deepcopy(changes))))
        assert failed.code == grpc.StatusCode.INVALID_ARGUMENT
        assert set(failed.violations) == expected | wrong
    assert api.store.list_experiments(limit=10) == []


@pytest.mark.parametrize("letter", ["a", "ä", "鶴"])
async def test_thousands_of_mistakes_still_fit_into_a_status(api, request_of, letter):
    wrong = [f"{i}{letter * 500}" for i in range(1000)]
    failed = await api.fails(api.experiments.CreateExperiment(request_of(grid={"activations": wrong})))
    assert failed.code == grpc.StatusCode.INVALID_ARGUMENT
    assert failed.message.startswith("1000 wrong fields")
    listed = len(failed.violations) - 1
    assert failed.violations[""] == f"and {1000 - listed} more; correct these first"
    assert listed >= 5


async def test_the_service_chooses_a_readable_id(api):
    named = await api.create("", experiment={"display_name": "Width 128, take 2"})
    plain = await api.create("")
    again = await api.create("")
    assert named.name.startswith("experiments/width-128-take-2-")
    assert plain.name.startswith("experiments/digits-")
    assert plain.name != again.name


async def test_a_taken_id_is_refused(api, request_of):
    await api.create("e")
    failed = await api.fails(api.experiments.CreateExperiment(request_of("e")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    preview = await api.fails(api.experiments.CreateExperiment(request_of("e", validate_only=True)))
    assert preview.reason == "ALREADY_EXISTS"


async def test_the_same_request_gives_the_first_answer(api, request_of):
    request = request_of("", request_id=str(uuid.uuid4()))
    first = await api.experiments.CreateExperiment(request)
    # A dataset that is missing now does not change that; what is said of the cluster is of this moment.
    api.store.save_capacity(CapacityReport({"cpus": 1.0}, (DatasetReport("digits", "is gone"),)))
    request.request_id = request.request_id.upper()
    again = await api.experiments.CreateExperiment(request)
    for answer in (first, again):
        answer.ClearField("warnings")
    assert again == first
    assert len(api.store.list_experiments(limit=10)) == 1


async def test_the_first_answer_outlives_the_server(running, request_of):
    request = request_of("", request_id=str(uuid.uuid4()))
    async with running() as before:
        first = await before.experiments.CreateExperiment(request)
    async with running() as after:
        assert await after.experiments.CreateExperiment(request) == first


async def test_another_request_under_the_same_request_id_is_refused(api, request_of):
    key = str(uuid.uuid4())
    await api.create("e", request_id=key)
    failed = await api.fails(
        api.experiments.CreateExperiment(request_of("e", request_id=key, grid={"seeds": [5]}))
    )
    assert (failed.code, failed.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert len(api.store.list_experiments(limit=10)) == 1


async def test_twenty_callers_with_one_request_id_create_one_experiment(api, request_of):
    request = request_of("", request_id=str(uuid.uuid4()))
    answers = await asyncio.gather(*(api.experiments.CreateExperiment(request) for _ in range(20)))
    assert len({answer.name for answer in answers}) == 1
    assert len(api.store.list_experiments(limit=100)) == 1


async def test_validate_only_says_what_would_be_and_creates_nothing(api, request_of):
    preview = await api.experiments.CreateExperiment(request_of("e", validate_only=True))
    assert api.store.list_experiments(limit=10) == []
    assert (preview.counts.total, preview.total_steps) == (4, 80)
    assert "no dispatcher has reported yet" in preview.warnings[0]
    created = await api.create("e")
    for field in ("name", "spec", "spec_hash", "run_memory_bytes", "warnings", "counts"):
        assert getattr(preview, field) == getattr(created, field)


async def test_what_the_cluster_lacks_is_said_while_it_is_so(api, request_of):
    await api.create("e")
    digits = (DatasetReport("digits", ""),)

    async def warnings():
        return list(
            (await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))).warnings
        )

    assert "no dispatcher has reported yet" in (await warnings())[0]
    api.store.save_capacity(CapacityReport({"cpus": 0.5}, digits))
    (lacking,) = await warnings()
    assert "a pack asks for cpus=1 but the cluster had 0.5" in lacking
    api.store.save_capacity(CapacityReport({"cpus": 4.0}, digits))
    assert await warnings() == []


async def test_a_dataset_that_the_dispatcher_misses(api, request_of):
    api.store.save_capacity(
        CapacityReport({"cpus": 1.0}, (DatasetReport("digits", "is damaged; install it"),))
    )
    failed = await api.fails(api.experiments.CreateExperiment(request_of()))
    assert failed.violations == {"experiment.spec.dataset": "is damaged; install it"}


async def test_pages_go_through_all_experiments_newest_first(api):
    for i in range(7):
        await api.create(f"e{i}", experiment={"priority": i % 2, "labels": {"half": str(i // 4)}})
    names, token = [], ""
    while True:
        answer = await api.experiments.ListExperiments(
            pb.ListExperimentsRequest(page_size=3, page_token=token)
        )
        names.append([experiment.name[-2:] for experiment in answer.experiments])
        token = answer.next_page_token
        if not token:
            break
    assert names == [["e6", "e5", "e4"], ["e3", "e2", "e1"], ["e0"]]


async def test_filters(api):
    for i in range(4):
        await api.create(f"e{i}", experiment={"priority": i, "labels": {"team": "ab"[i % 2]}})

    async def found(text):
        answer = await api.experiments.ListExperiments(pb.ListExperimentsRequest(filter=text))
        return [experiment.name[-2:] for experiment in answer.experiments]

    assert await found('labels.team = "a"') == ["e2", "e0"]
    assert await found("priority >= 1 AND priority < 3") == ["e2", "e1"]
    assert await found("experiment = e3 AND state = QUEUED") == ["e3"]
    assert await found("labels.other = x") == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListExperimentsRequest(page_size=-1), "page_size"),
        (pb.ListExperimentsRequest(page_size=1001), "page_size"),
        (pb.ListExperimentsRequest(page_token="nonsense"), "page_token"),
        (pb.ListExperimentsRequest(filter="stat = QUEUED"), "filter"),
    ],
)
async def test_wrong_listings(api, request_, field):
    failed = await api.fails(api.experiments.ListExperiments(request_))
    assert failed.code == grpc.StatusCode.INVALID_ARGUMENT
    assert set(failed.violations) == {field}


async def test_a_page_token_belongs_to_its_filter(api):
    for i in range(3):
        await api.create(f"e{i}")
    page = await api.experiments.ListExperiments(pb.ListExperimentsRequest(page_size=1))
    other = pb.ListExperimentsRequest(page_size=1, page_token=page.next_page_token, filter="priority = 0")
    assert set((await api.fails(api.experiments.ListExperiments(other))).violations) == {"page_token"}


async def test_cancelling_ends_queued_runs_at_once_and_is_repeatable(api):
    await api.create("e")
    request = pb.CancelExperimentRequest(name="experiments/e")
    cancelled = await api.experiments.CancelExperiment(request)
    assert cancelled.state == experiment_pb2.EXPERIMENT_STATE_CANCELLED
    assert cancelled.counts.cancelled == 4
    assert await api.experiments.CancelExperiment(request) == cancelled


async def test_a_pause_is_seen_repeatable_and_ended(api, trainer):
    await api.create("e")
    pause, resume = (
        pb.PauseExperimentRequest(name="experiments/e"),
        pb.ResumeExperimentRequest(name="experiments/e"),
    )
    trainer.plan("e", (0, 1), (2, 3))
    pack = trainer.lease()

    pausing = await api.experiments.PauseExperiment(pause)
    assert pausing.state == experiment_pb2.EXPERIMENT_STATE_PAUSING
    assert (pausing.counts.running, pausing.counts.paused) == (2, 2)
    assert await api.experiments.PauseExperiment(pause) == pausing
    api.store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)
    listed = await api.experiments.ListExperiments(pb.ListExperimentsRequest(filter="state = PAUSED"))
    assert [experiment.counts.paused for experiment in listed.experiments] == [4]

    resumed = await api.experiments.ResumeExperiment(resume)
    assert (resumed.state, resumed.counts.queued) == (QUEUED, 4)
    assert await api.experiments.ResumeExperiment(resume) == resumed
    # A watcher gets all of these events.
    call = api.experiments.WatchExperiment(pb.WatchExperimentRequest(name="experiments/e"))
    states = []
    while not states or states[-1] != QUEUED or len(states) < 3:
        states += [
            event.experiment_state_changed.state
            for event in (await call.read()).events
            if event.HasField("experiment_state_changed")
        ]
    call.cancel()
    names = [experiment_pb2.ExperimentState.Name(state).removeprefix("EXPERIMENT_STATE_") for state in states]
    assert names == ["QUEUED", "RUNNING", "PAUSING", "PAUSED", "QUEUED"]


async def test_pausing_what_has_ended_is_no_error(api):
    await api.create("e")
    cancelled = await api.experiments.CancelExperiment(pb.CancelExperimentRequest(name="experiments/e"))
    pause = pb.PauseExperimentRequest(name="experiments/e")
    assert await api.experiments.PauseExperiment(pause) == cancelled
    resume = pb.ResumeExperimentRequest(name="experiments/e")
    assert await api.experiments.ResumeExperiment(resume) == cancelled


async def test_what_is_not_there(api):
    for call in (
        api.experiments.PauseExperiment(pb.PauseExperimentRequest(name="experiments/nothing")),
        api.experiments.ResumeExperiment(pb.ResumeExperimentRequest(name="experiments/nothing")),
    ):
        assert (await api.fails(call)).code == grpc.StatusCode.NOT_FOUND
    get = api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/nothing"))
    failed = await api.fails(get)
    assert (failed.code, failed.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    wrong = await api.fails(api.experiments.GetExperiment(pb.GetExperimentRequest(name="nothing")))
    assert set(wrong.violations) == {"name"}


async def test_experiments_are_filtered_by_their_times(api):
    await api.create("a")
    later = (await api.create("b")).create_time.ToJsonString()

    async def listed(filter):
        return await api.experiments.ListExperiments(pb.ListExperimentsRequest(filter=filter))

    found = (await listed(f"create_time < {later} AND create_time > 2020-01-01")).experiments
    assert [one.name for one in found] == ["experiments/a"]
    found = (await listed(f"create_time >= {later} AND create_time <= {later}")).experiments
    assert [one.name for one in found] == ["experiments/b"], "the time that was shown is the very time"
    none = await listed("create_time < 2020-01-01")
    assert none.unmatched.startswith("no experiment has create_time < 2020-01-01T00:00:00Z; there are 20")
    assert (await listed("end_time > 2020-01-01")).unmatched == (
        "no experiment has end_time > 2020-01-01T00:00:00Z; none has a value"
    )
