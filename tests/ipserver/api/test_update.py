"""UpdateExperiment: what the mask names is changed, what it may name is said, and etags are kept to."""

import grpc
import pytest

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb


def update_request(paths=(), **fields):
    request = pb.UpdateExperimentRequest(experiment={"name": "experiments/e", **fields})
    request.update_mask.paths.extend(paths)
    return request


@pytest.fixture
async def created(api):
    about = {"display_name": "First", "labels": {"team": "theory"}, "priority": 3, "notes": "one\n\ttwo"}
    return await api.create(experiment=about)


async def test_the_mask_says_what_is_changed(api, created):
    assert created.notes == "one\n\ttwo"
    asked = update_request(["notes", "labels.paper"], notes="", labels={"paper": "3", "x": "y"}, priority=9)
    after = await api.experiments.UpdateExperiment(asked)
    assert (after.notes, dict(after.labels), after.priority) == ("", {"team": "theory", "paper": "3"}, 3)
    assert after == await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))
    after = await api.experiments.UpdateExperiment(update_request(["labels.team", "labels.none"]))
    assert dict(after.labels) == {"paper": "3"}
    after = await api.experiments.UpdateExperiment(update_request(["labels"], labels={"a": "b"}))
    assert dict(after.labels) == {"a": "b"}


async def test_without_a_mask_what_is_given_and_with_a_star_everything(api, created):
    after = await api.experiments.UpdateExperiment(update_request(display_name="Second"))
    assert (after.display_name, after.notes, after.priority) == ("Second", "one\n\ttwo", 3)
    after = await api.experiments.UpdateExperiment(update_request(["*"], display_name="Third"))
    assert (after.display_name, after.notes, dict(after.labels), after.priority) == ("Third", "", {}, 0)


async def test_a_whole_experiment_may_be_sent_back(api, created):
    """Read, change, write: what is only the service's to set is left alone, what never changes is refused."""
    changed = experiment_pb2.Experiment()
    changed.CopyFrom(created)
    changed.notes = "now with notes"
    for paths in ((), ("notes",)):
        request = pb.UpdateExperimentRequest(experiment=changed)
        request.update_mask.paths.extend(paths)
        after = await api.experiments.UpdateExperiment(request)
        assert after.notes == "now with notes"
        assert (after.etag != created.etag, after.spec) == (True, created.spec)
        changed.etag = after.etag
    changed.spec.steps += 1
    failed = await api.fails(api.experiments.UpdateExperiment(pb.UpdateExperimentRequest(experiment=changed)))
    assert "never changes" in failed.violations["experiment.spec"]


async def test_another_etag_aborts(api, created):
    first = await api.experiments.UpdateExperiment(update_request(["notes"], etag=created.etag, notes="mine"))
    failed = await api.fails(
        api.experiments.UpdateExperiment(update_request(["notes"], etag=created.etag, notes="yours"))
    )
    assert (failed.code, failed.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert first.etag in failed.message


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["spec"], "'spec' never changes"),
        (["spec.steps"], "ExtendExperiment adds to its grid"),
        (["project"], "in the other project"),
        (["state"], "'state' is set by the service"),
        (["etag"], "'etag' is set by the service"),
        (["priorty"], "did you mean 'priority'?"),
        (["notes", "*"], "use it alone"),
        (["labels", "labels.a"], "keep one of the two"),
        (["labels.A b"], "is not a key"),
        ([""], "unknown path ''"),
        ([], "nothing is given that could be updated"),
    ],
)
async def test_a_wrong_path_is_named_with_what_may_be_updated(api, created, paths, told):
    failed = await api.fails(api.experiments.UpdateExperiment(update_request(paths)))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert told in failed.violations["update_mask"]
    if "is not a key" not in told and "keep one" not in told:
        assert failed.violations["update_mask"].endswith(
            "what may be updated: display_name, labels, labels.KEY, notes, priority"
        )


async def test_every_wrong_value_is_named_and_nothing_is_changed(api, created):
    asked = update_request(
        ["display_name", "priority", "labels.a", "notes", "state"],
        display_name="two\nlines",
        priority=5000,
        labels={"a": "\x1b[31m"},
        notes="\x1b[31m",
    )
    failed = await api.fails(api.experiments.UpdateExperiment(asked))
    assert set(failed.violations) == {
        "experiment.display_name",
        "experiment.priority",
        'experiment.labels["a"]',
        "experiment.notes",
        "update_mask",
    }
    assert await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e")) == created
    too_long = update_request(["notes"], notes="x" * 10_001)
    failed = await api.fails(api.experiments.UpdateExperiment(too_long))
    assert "10,000 are allowed" in failed.violations["experiment.notes"]


async def test_a_watcher_sees_an_update_even_after_the_end(api, created):
    watch = aiter(api.experiments.WatchExperiment(pb.WatchExperimentRequest(name="experiments/e")))
    assert (await anext(watch)).events[0].sequence == 1
    await api.experiments.UpdateExperiment(update_request(["priority", "notes"], priority=9, notes="x"))
    (event,) = (await anext(watch)).events
    assert (list(event.experiment_updated.fields), event.experiment_updated.priority) == (
        ["notes", "priority"],
        9,
    )
    await api.experiments.CancelExperiment(pb.CancelExperimentRequest(name="experiments/e"))
    async for _ in watch:  # it ends
        pass
    await api.experiments.UpdateExperiment(update_request(["labels"], labels={"a": "b"}))
    events = []
    async for answer in api.experiments.WatchExperiment(pb.WatchExperimentRequest(name="experiments/e")):
        events += answer.events
    assert dict(events[-1].experiment_updated.labels) == {"a": "b"}
