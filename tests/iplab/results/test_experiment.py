"""Following an experiment on a real service, through restarts and overflows."""

import threading
import uuid
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from types import SimpleNamespace

import pytest

import iplab
from iplab.results.events import PackProgressed, RunsChanged, StateChanged
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import Failure
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import FailureReason, RunState
from tests.iplab.conftest import Service, small_spec


def plan(service, experiment):
    """Plan and lease one pack of all runs, as a dispatcher does before it trains; return the lease."""
    service.store.lease_unplanned("test", 60.0)
    indices = tuple(range(experiment.counts.total))
    service.store.save_plan(
        experiment.id,
        "test",
        [NewPack(2, 16, "relu", id="p0", run_indices=indices, steps=20, memory_bytes=1)],
    )
    return service.store.lease_pack(experiment.id, "test", 60.0)


def commit(service, lease, first, last):
    ended = {run.index: RunState.SUCCEEDED for run in lease.runs} if last == lease.steps else {}
    slice_ = SliceCommit(first, last, segment=b"", summaries={}, ended=ended, finished=last == lease.steps)
    service.store.commit_slice(lease.experiment.id, lease.id, lease.token, slice_)


@pytest.fixture
def own_client(own_service):
    with iplab.connect(own_service.address) as client:
        yield client


def test_events_tell_the_whole_story_in_order(trained):
    events = list(trained.watch())
    assert [event.sequence for event in events] == list(range(1, trained.sequence + 1))
    assert [e.state for e in events if isinstance(e, StateChanged)][-1] is iplab.ExperimentState.SUCCEEDED
    ended = [
        i
        for e in events
        if isinstance(e, RunsChanged) and e.state is iplab.RunState.SUCCEEDED
        for i in e.run_indices
    ]
    assert sorted(ended) == list(range(8))
    packs = {e.pack: e for e in events if isinstance(e, PackProgressed)}
    assert sorted((p.width, p.runs, p.committed_steps, p.steps) for p in packs.values()) == [
        (8, 4, 20, 20),
        (16, 4, 20, 20),
    ]


def test_a_watch_can_begin_anywhere(trained):
    assert [e.sequence for e in trained.watch(after=trained.sequence - 2)] == [
        trained.sequence - 1,
        trained.sequence,
    ]
    assert list(trained.watch(after=trained.sequence)) == []


def test_a_watch_goes_on_after_a_restart(own_service, own_client, impatient):
    experiment = own_client.create(small_spec(), experiment_id="e")
    watch = experiment.watch()
    seen = [next(watch)]
    own_service.stop()
    lease = plan(own_service, experiment)
    commit(own_service, lease, 1, 10)
    own_service.start()
    seen.append(next(watch))
    commit(own_service, lease, 11, 20)
    seen += list(watch)
    assert [event.sequence for event in seen] == list(range(1, experiment.refresh().sequence + 1))
    assert experiment.state is iplab.ExperimentState.SUCCEEDED


def test_a_watch_goes_on_after_an_overflow(tmp_path, impatient):
    service = Service(tmp_path, watch_capacity=1)
    with iplab.connect(service.address) as client:
        experiment = client.create(small_spec(), experiment_id="e")
        watch = experiment.watch()
        seen = [next(watch)]
        # This service keeps only one event for a watcher.
        commit(service, plan(service, experiment), 1, 20)
        seen += list(watch)
        assert all(b.sequence == a.sequence + 1 for a, b in pairwise(seen))
        assert seen[-1].sequence == experiment.refresh().sequence
    service.close()


def test_a_watch_gives_up_when_the_service_stays_away(own_service, own_client, monkeypatch, impatient):
    experiment = own_client.create(small_spec(), experiment_id="e")
    now = [0.0]
    watch = experiment.watch()
    next(watch)
    monkeypatch.setattr("iplab.connection.resuming.time", clock(now))
    monkeypatch.setattr("iplab.results.following.pause", lambda delay: now.__setitem__(0, now[0] + 20.0))
    # Patience counts from the loss of the service, however long the watch was quiet before.
    now[0] = 3600.0
    own_service.stop()
    with pytest.raises(iplab.UnavailableError, match="no iplab service answers"):
        list(watch)
    assert 3600.0 + 60.0 < now[0] <= 3600.0 + 80.0


def clock(now):
    """A replacement of the module `time` that shows `now[0]`."""
    return SimpleNamespace(monotonic=lambda: now[0])


def test_waiting_returns_the_ended_experiment(own_service, own_client, capsys):
    experiment = own_client.create(small_spec(), experiment_id="e")
    trainer = threading.Thread(target=own_service.train)
    trainer.start()
    done = experiment.wait()
    trainer.join()
    assert done is experiment
    assert done.state is iplab.ExperimentState.SUCCEEDED
    assert done.counts.succeeded == 8
    assert done.end_time >= done.start_time >= done.create_time
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "e is RUNNING" in captured.err, "lines, where there is no terminal"
    assert "(100 %)" in captured.err
    assert "e is SUCCEEDED" in captured.err


def test_waiting_has_a_timeout(own_client):
    experiment = own_client.create(small_spec(), experiment_id="e")
    with pytest.raises(iplab.TimedOutError, match=r"has not ended within 0\.2 s"):
        experiment.wait(timeout=0.2)
    assert experiment.refresh().state is iplab.ExperimentState.QUEUED


def test_cancelling_ends_what_waits_and_is_harmless_after_the_end(own_client):
    experiment = own_client.create(small_spec(), experiment_id="e").cancel()
    assert experiment.state is iplab.ExperimentState.CANCELLED
    assert experiment.counts.cancelled == 8
    assert experiment.cancel().wait().state is iplab.ExperimentState.CANCELLED


def test_a_pause_and_its_end(own_service, own_client):
    experiment = own_client.create(small_spec(), experiment_id="e").pause()
    assert experiment.state is iplab.ExperimentState.PAUSED
    assert experiment.counts.paused == 8
    assert experiment.run(3).state is iplab.RunState.PAUSED
    own_service.train()
    assert experiment.refresh().committed_steps == 0
    assert experiment.resume().state is iplab.ExperimentState.QUEUED
    own_service.train()
    assert experiment.refresh().state is iplab.ExperimentState.SUCCEEDED
    assert experiment.pause().state is iplab.ExperimentState.SUCCEEDED


def test_an_extended_experiment_has_the_numbers_of_one_that_was_large_at_once(own_service, own_client):
    whole = own_client.create(small_spec(seeds=[0, 1, 2], widths=[8, 16, 12]), experiment_id="whole")
    grown = own_client.create(small_spec(), experiment_id="grown")
    own_service.train()
    assert grown.refresh().state is iplab.ExperimentState.SUCCEEDED
    before = grown.metrics()
    preview = grown.extend(seeds=[2], validate_only=True)
    assert (preview.counts.total, grown.counts.total) == (12, 8)
    assert grown.extend(seeds=[2]).state is iplab.ExperimentState.RUNNING
    grown.extend(widths=[12])
    own_service.train()
    assert grown.wait(progress=False).state is iplab.ExperimentState.SUCCEEDED
    kinds = [type(event).__name__ for event in grown.watch()]
    assert kinds.count("Extended") == 2
    assert kinds[-1] == "StateChanged"

    def results(experiment):
        return {
            (run.parameterization, run.width, run.seed): (
                {name: value for name, value in run.results.items() if value is not None},
                run.calibrated_rates,
            )
            for run in experiment.runs()
        }

    expected, found = results(whole.refresh()), results(grown)
    assert found.keys() == expected.keys()
    assert len(found) == 18
    for point, (numbers, rates) in expected.items():
        assert found[point][0] == pytest.approx(numbers, rel=1e-5), point
        assert found[point][1] == pytest.approx(rates, rel=1e-5), point
    again = grown.metrics("index < 8")
    assert all((getattr(again, name) == getattr(before, name)).all() for name in ("run", "step", "value"))


def test_what_cannot_be_added_is_said(own_client):
    experiment = own_client.create(small_spec(), experiment_id="e")
    with pytest.raises(iplab.InvalidRequestError) as caught:
        experiment.extend(seeds=[1], widths=[-3])
    assert {violation.field for violation in caught.value.violations} == {"seeds[0]", "widths[0]"}
    assert experiment.counts.total == 8


def test_runs_are_listed_and_filtered(trained):
    assert [run.index for run in trained.runs()] == list(range(8))
    wide = list(trained.runs('parameterization = "llr" AND width > 8'))
    assert [(run.parameterization, run.width, run.seed) for run in wide] == [("llr", 16, 0), ("llr", 16, 1)]
    with pytest.raises(iplab.InvalidRequestError, match="filter"):
        list(trained.runs("widht = 8"))


def test_listing_fetches_every_page(trained, monkeypatch):
    monkeypatch.setattr("iplab.connection.paging.PAGE", 3)
    assert [run.index for run in trained.runs()] == list(range(8))


def test_metrics_are_those_of_the_runs(trained):
    metrics = trained.metrics()
    assert set(metrics.names) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    steps, losses = metrics.series(3, "test_loss")
    assert steps.tolist() == [0, 20]
    assert losses[-1] == trained.run(3).final_test_loss
    part = trained.metrics("width = 8", names=["train_loss"], first_step=5, last_step=15)
    assert part.names == ("train_loss",)
    assert set(part.step.tolist()) == {5, 10, 15}
    assert len(set(part.run.tolist())) == 4


def test_metrics_of_probes(own_service, own_client):
    request = small_spec(widths=[8])
    request["spec"]["record"]["probes"] = {"quantities": ["coordinates"], "layers": [2, 3], "steps": [0, 3]}
    probed = own_client.create(request, experiment_id="probed")
    own_service.train()
    changes = probed.metrics("index = 0", names=["h_change/*", "x/2"])
    assert set(changes.names) == {"h_change/2", "h_change/3", "x/2"}
    steps, sizes = changes.series(0, "h_change/2")
    assert steps.tolist() == [0, 3]
    assert 0 == sizes[0] < sizes[1]
    with pytest.raises(iplab.InvalidRequestError, match=r"h_change/\*"):
        probed.metrics(names=["h_chnage/2"])
    with pytest.raises(iplab.InvalidRequestError, match="does not record 'h/1'"):
        probed.run(0).metrics(names=("h/1",))


def test_the_summary_has_a_row_per_point(trained):
    rows = trained.summary()
    assert [(row.parameterization, row.width, row.runs) for row in rows] == [
        ("mup", 8, 2),
        ("mup", 16, 2),
        ("llr", 8, 2),
        ("llr", 16, 2),
    ]
    losses = [run.final_test_loss for run in trained.runs('parameterization = "mup" AND width = 8')]
    assert rows[0].test_loss.mean == pytest.approx(sum(losses) / 2)


def test_the_best_rate_is_chosen_by_the_service(trained):
    best = trained.best_rates("width = 8")
    assert [(row.parameterization, row.base_learning_rate, row.rates) for row in best] == [
        ("mup", 0.1, 1),
        ("llr", 0.1, 1),
    ]
    assert {(row.criterion, row.bracket) for row in best} == {("final_test_loss", "")}
    assert best[0].test_loss == best[0].criterion_value == trained.summary()[0].test_loss
    (row, *_) = trained.best_rates(by="final_test_accuracy", largest=True)
    assert (row.criterion, row.criterion_value) == ("final_test_accuracy", row.test_accuracy)
    with pytest.raises(iplab.InvalidRequestError, match="'width' is none of"):
        trained.best_rates(by="width")


def test_theory_speaks_before_anything_trains(own_client):
    spec = small_spec(parameterizations=[{"preset": "ip"}, {"preset": "mup"}])
    spec["spec"]["grid"]["hidden_layers"] = [4]
    experiment = own_client.create(spec, validate_only=True)
    ip, mup = experiment.predictions
    assert (ip.parameterization, ip.hidden_layers, ip.activation) == ("ip", 4, "relu")
    assert (ip.regime, mup.regime) == (iplab.Regime.TRIVIAL, iplab.Regime.FEATURE_LEARNING)
    assert ip.summary
    assert ip.advice, "what would change it"
    assert not mup.advice


def test_runs_and_rows_carry_their_regime(trained):
    assert {run.predicted_regime for run in trained.runs()} == {iplab.Regime.FEATURE_LEARNING}
    assert {row.predicted_regime.words for row in trained.summary()} == {"feature learning"}


def test_plain_values_have_numbers_and_short_names(trained):
    plain = trained.to_dict()
    assert plain["state"] == "SUCCEEDED"
    assert plain["total_steps"] == 160
    assert plain["counts"]["succeeded"] == 8
    assert plain["labels"] == {"team": "theory"}
    assert plain["create_time"].endswith("Z")


def test_what_describes_it_is_updated(service, client):
    experiment = client.create(small_spec(), experiment_id="updated")
    first = experiment.etag
    updated = experiment.update(labels={"paper": "3", "team": None}, notes="line 1\nline 2", priority=2)
    assert updated is experiment
    assert (experiment.labels, experiment.notes, experiment.priority) == ({"paper": "3"}, "line 1\nline 2", 2)
    assert experiment.display_name == "eight small runs"
    assert client.experiment("updated").etag == experiment.etag != first
    with pytest.raises(iplab.EtagMismatchError, match="read it again"):
        experiment.update(display_name="late", etag=first)
    assert experiment.update(display_name="", etag=experiment.etag).display_name == ""
    first, second = (event for event in islice(experiment.watch(), 3) if isinstance(event, iplab.Updated))
    assert (first.fields, first.labels, first.priority) == (
        ("labels", "notes", "priority"),
        {"paper": "3"},
        2,
    )
    assert (second.fields, second.display_name) == (("display_name",), "")
    with pytest.raises(iplab.InvalidRequestError, match="nothing is given"):
        experiment.update()
    experiment.cancel()


def test_it_is_deleted_and_brought_back(service, client):
    experiment = client.create(small_spec(), experiment_id="short-lived").cancel()
    assert experiment.delete() is experiment
    assert experiment.purge_time - experiment.delete_time == timedelta(days=30)
    assert "short-lived" not in {one.id for one in client.experiments()}
    assert "short-lived" in {one.id for one in client.experiments(show_deleted=True)}
    assert experiment.undelete().delete_time is None
    with pytest.raises(iplab.InvalidRequestError, match="delete it first"):
        experiment.purge()
    assert experiment.delete().purge().purge_time < datetime.now(UTC)
    with pytest.raises(iplab.InvalidRequestError, match="being purged"):
        experiment.undelete()


def test_what_failed_goes_on(own_service, own_client):
    experiment = own_client.create(small_spec(), experiment_id="broken")
    lease = plan(own_service, experiment)
    commit(own_service, lease, 1, 5)
    broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
    own_service.store.end_attempt("broken", lease.id, lease.token, failure=broke, retry=False)
    assert experiment.refresh().state is iplab.ExperimentState.FAILED
    run = experiment.run(0)
    assert run.failure.message == "it broke"
    assert run.retry().state is iplab.RunState.QUEUED
    assert run.retry().failure is None, "it has not ended: nothing changes"
    once = str(uuid.uuid4())
    assert experiment.retry_failed(request_id=once) is experiment
    assert (experiment.state, experiment.counts.queued) == (iplab.ExperimentState.QUEUED, 8)
    assert experiment.retry_failed(request_id=once).counts.queued == 8
    for _ in range(2):
        pack = own_service.store.lease_pack("broken", "test", 60.0)
        assert pack.committed_steps == 5
        commit(own_service, pack, 6, 20)
    assert experiment.wait(progress=False, timeout=60).state is iplab.ExperimentState.SUCCEEDED
    with pytest.raises(iplab.InvalidRequestError, match="only failed runs"):
        experiment.run(0).retry()
    with pytest.raises(iplab.RequestIdReusedError):
        experiment.run(1).retry(request_id=once)
