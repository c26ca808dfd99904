"""The checks after a fault find the errors that they are for."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.tables import artifacts, events, segments
from ipserver.workers.local_executor import LocalExecutor
from tests.faults import checks
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with an experiment that has ended."""
    home = tmp_path_factory.mktemp("home")
    settings = settings_in(home, slice_seconds=0.001)
    store = store_in(settings)
    submit(store, small_spec(steps=60))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(2000):
        if store.get_experiment("e").state.terminal:
            break
        dispatcher.step()
    executor.close()
    return SimpleNamespace(home=home, store=store)


@pytest.fixture
def changed(trained):
    """Executes statements on the store; undone at the end of the test."""
    with trained.store.database.engine.connect() as connection:
        kept = {table: connection.execute(sa.select(table)).mappings().all() for table in _TABLES}

    def change(*statements):
        with trained.store.database.engine.begin() as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount > 0

    yield change
    with trained.store.database.engine.begin() as connection:
        for table, rows in kept.items():
            connection.execute(sa.delete(table))
            connection.execute(sa.insert(table), [dict(row) for row in rows])


_TABLES = (events, segments, artifacts)


def test_nothing_is_wrong_with_what_was_not_disturbed(trained):
    checks.check_history(trained.store, "e")
    assert checks.check_steps(trained.store, "e", interval=10)
    checks.check_weights(trained, "e")


def last(kind, state):
    return sa.and_(events.c.kind == kind, events.c.payload["state"].as_string() == state)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (sa.delete(events).where(events.c.seq == 3), None),
        (sa.delete(events).where(last("runs_state", "RUNNING")), None),
        (
            sa.update(events)
            .where(last("runs_state", "SUCCEEDED"))
            .values(payload={"state": "SUCCEEDED", "runs": [0, 1, 2, 3, 3]}),
            "SUCCEEDED -> SUCCEEDED",
        ),
        (
            sa.update(events)
            .where(last("runs_state", "SUCCEEDED"))
            .values(payload={"state": "SUCCEEDED", "runs": [0, 1, 2]}),
            None,
        ),
        (
            sa.update(events)
            .where(events.c.kind == "pack_progress", events.c.seq > 4)
            .values(payload={"pack": "p0000", "committed_steps": 1}),
            "went back",
        ),
    ],
    ids=["a gap", "no start", "an end twice", "a run without an end", "progress backwards"],
)
def test_a_history_that_is_none_is_noticed(trained, changed, statement, message):
    changed(statement)
    with pytest.raises(AssertionError, match=message):
        checks.check_history(trained.store, "e")


def test_a_lost_and_a_doubled_segment_are_noticed(trained, changed):
    with trained.store.database.engine.connect() as connection:
        second = connection.execute(sa.select(segments).order_by(segments.c.first_step)).all()[1]
    copy = {**second._mapping, "id": 10_000, "first_step": 0}
    changed(sa.insert(segments).values(copy))
    with pytest.raises(AssertionError, match="twice"):
        checks.check_steps(trained.store, "e", interval=10)
    changed(sa.delete(segments).where(segments.c.id.in_([10_000, second.id])))
    with pytest.raises(AssertionError):
        checks.check_steps(trained.store, "e", interval=10)


def test_other_weights_are_noticed(trained, changed):
    other = trained.store.get_artifact("e", 1, "weights/final.safetensors")
    changed(
        sa.update(artifacts)
        .where(artifacts.c.run_index == 0)
        .values(location=other.location, sha256=other.sha256, size_bytes=other.size_bytes)
    )
    with pytest.raises(AssertionError, match="run 0 has other weights"):
        checks.check_weights(trained, "e")
