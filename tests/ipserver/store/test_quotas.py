"""Limits of projects and users, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from ipserver.errors import NotFound, QuotaExceeded
from ipserver.store.records.experiments import Extension, Revision
from ipserver.store.states import RunState
from ipserver.store.transactions.quotas import month_start, next_month
from tests.ipserver.store.cases import a_slice, lease, new_experiment, new_runs, planned

NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def create(store, name, runs=2, **changes):
    return store.create_experiment(new_experiment(name, **changes), new_runs(runs))


def refused(store, name, **changes):
    with pytest.raises(QuotaExceeded) as caught:
        create(store, name, **changes)
    return caught.value


def test_live_experiments_are_counted_per_project_and_user(store):
    accounts = store.accounts
    accounts.create_project("lab")
    accounts.set_quota("lab", "", "live_experiments", 2)
    accounts.set_quota("lab", "*", "live_experiments", 1)
    create(store, "a", project="lab", owned_by="alice")
    error = refused(store, "b", project="lab", owned_by="alice")
    assert (error.subject, error.limit, error.never) == ("project:lab/user:alice", "live_experiments", False)
    assert "until one of them ends" in str(error)
    create(store, "b", project="lab", owned_by="bob")
    assert refused(store, "c", project="lab", owned_by="carol").subject == "project:lab"
    create(store, "c")  # another project
    store.cancel_experiment("a")
    create(store, "d", project="lab", owned_by="carol")


def test_submissions_at_the_same_time_keep_to_a_limit(store):
    store.accounts.set_quota("default", "", "live_experiments", 3)
    together = threading.Barrier(8)

    def accepted(number):
        together.wait(60)
        try:
            return create(store, f"e{number}") is not None
        except QuotaExceeded:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(accepted, range(8))) == 3
    assert len(store.list_experiments(limit=9)) == 3


def test_queued_runs_include_those_that_are_asked_for(store):
    store.accounts.set_quota("default", "", "queued_runs", 5)
    create(store, "a", runs=3)
    assert not refused(store, "b", runs=3).never
    assert refused(store, "b", runs=6).never
    create(store, "b", runs=2)
    (use,) = store.accounts.uses("default", "")
    assert (use.used, use.limit, use.user, use.reset_time) == (5, 5, "", None)


def test_priorities_above_the_limit_are_refused(store):
    store.accounts.set_quota("*", "", "priority", 10)
    create(store, "a", priority=10)
    error = refused(store, "b", priority=11)
    assert (error.limit, error.never) == ("priority", True)
    store.accounts.set_quota("default", "", "priority", 20)  # the project's own wins over that of each
    create(store, "b", priority=11)


def test_hours_are_those_of_this_month_and_their_end_is_told(store, clock):
    clock.time = NOVEMBER
    store.accounts.set_quota("default", "", "core_hours", 3)
    planned(store, [[0, 1]], resources={"cpus": 2.0})
    pack = lease(store)
    clock.time += 3600  # one hour on two cores
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 3))
    (use,) = store.accounts.uses("default", "")
    assert (use.used, use.reset_time) == (2.0, DECEMBER)
    create(store, "more")
    clock.time += 1800
    error = refused(store, "still-more")
    assert error.retry_seconds == DECEMBER - clock.time
    assert "until 2026-12-01 00:00 UTC" in str(error)
    clock.time = DECEMBER + 900
    (use,) = store.accounts.uses("default", "")
    assert use.used == pytest.approx(0.5)  # of the attempt, what lies in December
    create(store, "still-more")


def test_bytes_of_artifacts(store):
    store.accounts.set_quota("default", "alice", "artifact_bytes", 0)
    create(store, "a", owned_by="bob")
    assert refused(store, "b", owned_by="alice").limit == "artifact_bytes"


def test_an_experiment_of_a_study_gets_its_project_and_user(store):
    from tests.ipserver.store.test_studies import new_study

    store.accounts.create_project("lab")
    store.create_study(new_study("s", project="lab", owned_by="alice"))
    (held,) = store.lease_studies("driver", 60)
    made = store.create_experiment(new_experiment("e"), new_runs(1), ("s", held.token))
    assert (made.project, made.owned_by) == ("lab", "alice")
    assert store.accounts.project_of_study("s") == "lab"


def test_what_adds_nothing_to_a_limit_that_was_lowered_is_accepted(store):
    create(store, "a")
    create(store, "b")
    store.accounts.set_quota("default", "", "live_experiments", 1)
    record = store.get_experiment("a")
    more = Extension("", "", record.spec_hash, {}, tuple(new_runs(3)[2:]), record.spec, "h", 1, ())
    assert store.extend_experiment("a", more).counts[RunState.QUEUED] == 3
    store.accounts.set_quota("default", "", "queued_runs", 5)
    again = Extension("", "", "h", {}, tuple(new_runs(4)[3:]), record.spec, "i", 1, ())
    with pytest.raises(QuotaExceeded):
        store.extend_experiment("a", again)


def more_runs(record, asked_by, first=2):
    runs = tuple(new_runs(first + 1)[first:])
    return Extension("", "", record.spec_hash, {}, runs, record.spec, f"h{first}", 1, (), asked_by=asked_by)


def refused_extension(store, record, asked_by):
    with pytest.raises(QuotaExceeded) as caught:
        store.extend_experiment("a", more_runs(record, asked_by))
    assert store.get_experiment("a").counts[RunState.QUEUED] == 2
    return caught.value


def test_nobody_uses_up_the_limits_of_another_user_by_extending(store):
    """The runs of an experiment count for its owner, whoever asks for them."""
    store.accounts.set_quota("default", "", "queued_runs", 4)
    record = create(store, "a", owned_by="alice")
    record = store.extend_experiment("a", more_runs(record, "bob"))  # no user has a limit
    assert store.extend_experiment("a", more_runs(record, "", 3)).counts[RunState.QUEUED] == 4
    with pytest.raises(QuotaExceeded, match="project 'default' has 4 of 4 queued_runs"):
        store.extend_experiment("a", more_runs(store.get_experiment("a"), "bob", 4))


@pytest.mark.parametrize("limited", ["alice", "bob", "*"])
def test_an_extension_of_anothers_experiment_is_refused_where_a_user_has_a_limit(store, limited):
    record = create(store, "a", owned_by="alice")
    store.accounts.set_quota("default", limited, "core_hours", 100)
    store.accounts.set_quota("default", "*", "priority", 5)  # is no amount
    error = refused_extension(store, record, "bob")
    whose = "bob" if limited == "bob" else "alice"
    assert (error.subject, error.limit, error.never) == (f"project:default/user:{whose}", "core_hours", True)
    assert str(error) == (
        f"runs of experiment 'a' count for its owner 'alice', and user {whose!r} in project 'default' has "
        "the limit core_hours of 100; submit them as an experiment of your own"
    )
    assert store.extend_experiment("a", more_runs(record, "alice")).counts[RunState.QUEUED] == 3


def test_limits_of_users_cannot_be_evaded_by_extending_what_nobody_owns(store):
    record = create(store, "a")
    store.accounts.set_quota("default", "alice", "queued_runs", 100)
    assert "count for nobody, as it has no owner, and" in str(refused_extension(store, record, "alice"))
    assert store.extend_experiment("a", more_runs(record, "bob")).counts[RunState.QUEUED] == 3


def test_the_limit_of_the_priority_is_that_of_the_user_who_raises_it(store):
    create(store, "a", owned_by="alice")
    store.accounts.set_quota("default", "bob", "priority", 3)
    with pytest.raises(
        QuotaExceeded, match="user 'bob' in project 'default' may ask for a priority of at most 3"
    ):
        store.update_experiment("a", Revision(values={"priority": 4}, asked_by="bob"))
    assert store.update_experiment("a", Revision(values={"priority": 3}, asked_by="bob")).priority == 3
    assert store.update_experiment("a", Revision(values={"priority": 9}, asked_by="alice")).priority == 9
    store.accounts.set_quota("default", "alice", "priority", 0)
    assert store.update_experiment("a", Revision(values={"priority": 10}, asked_by="carol")).priority == 10


def test_limits_are_removed_and_need_a_project(store):
    store.accounts.set_quota("default", "", "live_experiments", 0)
    refused(store, "a")
    store.accounts.set_quota("default", "", "live_experiments", None)
    create(store, "a")
    assert store.accounts.quotas() == []
    with pytest.raises(NotFound):
        store.accounts.set_quota("nowhere", "", "live_experiments", 1)


def test_months():
    assert month_start(NOVEMBER) == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert next_month(NOVEMBER) == DECEMBER
    assert next_month(DECEMBER) == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
