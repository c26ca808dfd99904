"""A forwarder that is behind reads little, and sends at a bounded rate."""

import itertools

from ipserver.forward import history
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.store import segments
from ipserver.store.records.forwarding import Forwarded
from tests.ipserver.forward.cases import Clock, a_forwarder, a_sink, forward_all, mlflow_runs, pending, train
from tests.ipserver.support import small_spec, submit


def test_it_catches_up_in_order_and_at_a_bounded_rate(store, settings, mlflow, monkeypatch):
    """40 runs of 84 points at 1000 points per second: points beyond the first second's must wait."""
    submit(store, small_spec(grid={"seeds": list(range(20))}, steps=400))
    train(store, settings)
    clock, sent = Clock(), []

    def sleep(seconds):
        clock.time += seconds

    forwarder = Forwarder(
        store, a_sink(settings), settings.artifact_root, "f", clock, points_per_second=1000.0, sleep=sleep
    )
    client = forwarder._sink._client
    log_batch = client.log_batch

    def log(run_id, metrics, params, tags):
        sent.extend((clock.time, run_id, metric.key, metric.step) for metric in metrics)
        log_batch(run_id, metrics=metrics, params=params, tags=tags)

    monkeypatch.setattr(client, "log_batch", log)
    while forwarder.step() is Pass.BUSY:
        pass

    assert pending(store) == 0
    assert len(sent) > 3000
    for begin in range(int(sent[-1][0]) + 1):
        # At most one second's points at once, plus one run's, since runs are sent whole.
        assert sum(begin <= time < begin + 1 for time, *_ in sent) <= 2100
    assert sent[-1][0] >= (len(sent) - 1100) / 1000
    histories = {}
    for _, run, metric, step in sent:
        histories.setdefault((run, metric), []).append(step)
    assert all(steps == sorted(set(steps)) for steps in histories.values())
    # Runs are not mixed: each is sent at once, by pack, oldest first.
    order = [run for run, _ in itertools.groupby(run for _, run, _, _ in sent)]
    assert len(order) == len(set(order)) == 40


def test_a_pack_is_decoded_once_for_all_its_runs_and_only_what_is_new(store, settings, mlflow, monkeypatch):
    submit(store, small_spec(steps=40))
    train(store, settings.model_copy(update={"slice_seconds": 1e-9}))  # one update per slice
    (pack,) = {run.pack for run in store.list_runs("e", limit=10)}
    stored = list(store.segments("e", packs=[pack], first_step=0, last_step=None))
    assert len(stored) > 3
    sink = a_sink(settings)
    for index in range(4):
        run, _ = sink.run("e", f"experiments/e/runs/r0000{index}", 1, {})
        store.mark_forwarded([Forwarded("e", index, run, new=True, segment=stored[1].id)])
    decoded = []
    decode = segments.decode
    monkeypatch.setattr(segments, "decode", lambda data: decoded.append(data) or decode(data))

    forward_all(store, settings)

    assert pending(store) == 0
    assert decoded == [segment.data for segment in stored[2:]]


def test_a_long_history_arrives_in_portions_and_in_full(store, settings, mlflow, monkeypatch):
    submit(store, small_spec(steps=30))
    train(store, settings.model_copy(update={"slice_seconds": 1e-9}))  # one update per slice
    monkeypatch.setattr(history, "_SEGMENTS", 2)
    forwarder = a_forwarder(store, settings)

    forwarder.step()
    # Not finished, since their history is incomplete.
    assert {run.info.status for run in mlflow_runs(mlflow).values()} == {"RUNNING"}
    assert pending(store) == 4

    while forwarder.step() is Pass.BUSY:
        pass
    assert pending(store) == 0
    for run in mlflow_runs(mlflow).values():
        assert run.info.status == "FINISHED"
        steps = [point.step for point in mlflow.get_metric_history(run.info.run_id, "train_loss")]
        assert sorted(steps) == [1, 10, 20, 30]
