"""SQLite uses indices for all queries, and the work grows linearly with the result."""

import re
import time

import pytest
import sqlalchemy as sa

from ipserver.store import migrate, open_store
from ipserver.store.shapes import ONE_CORE
from ipserver.store.transactions import board
from tests.ipserver.store.cases import a_slice, lease, planned


@pytest.fixture
def store(tmp_path):
    dsn = f"sqlite:///{tmp_path}/iplab.db"
    migrate(dsn)
    with open_store(dsn) as store:
        yield store


@pytest.fixture
def plans(store):
    """The query plan of every executed statement, by its text."""
    found = {}

    def explain(connection, _cursor, statement, parameters, _context, many):
        if not many and re.match("WITH|SELECT|UPDATE|DELETE", statement):
            raw = connection.connection.driver_connection
            rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found[statement] = " | ".join(row[3] for row in rows)

    sa.event.listen(store.database.engine, "before_cursor_execute", explain)
    return found


def test_runs_of_a_pack_are_found_by_it(store, plans):
    planned(store, [[0], [1]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 1))
    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)
    store.cancel_experiment("e")

    of_packs = {text: plan for text, plan in plans.items() if re.search(r"runs\.pack = (\?|packs)", text)}
    assert len(of_packs) >= 4
    for text, plan in of_packs.items():
        assert "ix_runs_pack" in plan, (text, plan)


def test_expired_leases_are_found_by_their_time(store, plans):
    planned(store, [[0]])
    lease(store)
    plans.clear()
    store.reap_expired()

    (plan,) = (plan for text, plan in plans.items() if "packs" in text)
    assert "SEARCH packs USING INDEX ix_packs_expiring (expires<?)" in plan


def test_waiting_packs_are_found_among_unfinished_ones(store, plans):
    planned(store, [[0], [1]])
    lease(store)
    plans.clear()
    lease(store)

    (plan,) = (
        plan for text, plan in plans.items() if re.search(r"packs\.state = \?\s+AND packs\.state != ", text)
    )
    assert "SEARCH packs USING INDEX ix_packs_unfinished (experiment=? AND state=?" in plan.replace(
        "COVERING ", ""
    ), plan


def test_what_waits_is_found_by_its_urgency_and_its_shape(store, plans, monkeypatch):
    """No query sorts, or scans more than its result."""
    planned(store, [[0], [1]])
    monkeypatch.setattr(board, "_PAGE", 1)
    plans.clear()
    assert store.waiting() and store.board("c").queued

    found = [plan for text, plan in plans.items() if "queue" in text]
    assert len(found) == 3
    for plan in found:
        assert "TEMP B-TREE" not in plan, plan
        for step in plan.split(" | "):
            if "experiments" in step and "SCAN" in step:
                # In the order of the index, as far as the limit: one page, or the first of all pairs.
                assert "ix_experiments_urgent" in step or step.startswith("SCAN first"), plan
    heads = next(plan for text, plan in plans.items() if "RECURSIVE" in text)
    assert "SCAN first USING COVERING INDEX ix_experiments_shares" in heads
    # From one pair of project and shape to the next, past all that waits in between.
    assert "ix_experiments_shares ((project,queue)>(?,?))" in heads
    assert "SCAN experiments" not in heads and "SCAN following" not in heads


def test_what_is_to_be_planned_is_found_among_all_that_is_planned(store, plans):
    planned(store, [[0]])
    plans.clear()
    assert store.lease_unplanned("d", 60) is None

    (plan,) = (plan for text, plan in plans.items() if "planned" in text)
    assert "ix_experiments_unplanned" in plan


def test_what_no_node_can_hold_is_found_by_its_shape(store, plans):
    planned(store, [[0]])
    plans.clear()
    assert store.unplaceable_due([ONE_CORE], 60) == [("e", ONE_CORE)]
    assert store.placeable_again([]) == []

    found = [plan for text, plan in plans.items() if "unplaceable_since" in text]
    used = [re.search(r"ix_experiments_\w+", plan).group() for plan in found]
    assert used == ["ix_experiments_placeable"] * 2 + ["ix_experiments_unplaceable"], found


def test_cancelling_grows_in_step_with_the_packs(store):
    def seconds(count, name):
        planned(store, [[index] for index in range(count)], id=name)
        begun = time.process_time()
        store.cancel_experiment(name)
        return time.process_time() - begun

    few = seconds(200, "few")
    assert seconds(2000, "many") < 40 * few, "ten times as much; were it squared, a hundred times"
