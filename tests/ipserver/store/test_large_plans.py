"""A large plan is saved in parts: commits get in between, and a dead planner leaves no incomplete plan."""

from __future__ import annotations

import pytest

from ipserver import failpoints
from ipserver.errors import Fenced
from ipserver.store import Store
from ipserver.store.states import ExperimentState
from ipserver.store.transactions import planning
from tests.ipserver.store.cases import TTL, Clock, new_experiment, new_pack, new_runs, planned, states, told


class Killed(BaseException):
    """Simulates kill -9: nothing catches it."""


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_RUNS_AT_ONCE", 4)


def killed_after(monkeypatch: pytest.MonkeyPatch, point: str, times: int) -> None:
    """The process "dies" when it passes a point for the n-th time."""
    passed = [0]

    def hit(name: str) -> None:
        passed[0] += name == point
        if passed[0] == times:
            raise Killed

    monkeypatch.setattr(failpoints, "hit", hit)


def begun(store: Store) -> list[list[int]]:
    """Nine packs of one run and one of three, which make three parts; planning is leased."""
    plan = [[index] for index in range(9)] + [[9, 10, 11]]
    store.create_experiment(new_experiment(), new_runs(12))
    assert store.lease_unplanned("d0", TTL) is not None
    return plan


def save(store: Store, owner: str, plan: list[list[int]], first: int = 0) -> None:
    store.save_plan("e", owner, [new_pack(f"p{n:02d}", pack) for n, pack in enumerate(plan, first)], TTL)


def of_runs(store: Store) -> list[str]:
    return [run.pack for run in store.list_runs("e", limit=100)]


def test_parts_are_of_whole_packs() -> None:
    sizes = [[1] * 600, [1, 499, 1], [2000], []]
    for pattern in sizes:
        start, plan = 0, []
        for size in pattern:
            plan.append(new_pack(f"p{start}", range(start, start + size)))
            start += size
        parts = list(planning.parts(plan))
        assert [pack for part in parts for pack in part] == plan
        assert len(parts) == {600: 2, 3: 2, 1: 1, 0: 1}[len(pattern)]


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("point", ["plan.during", "plan.after"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_planner_that_dies_between_parts_leaves_nothing_half(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, point: str, times: int
) -> None:
    plan = begun(store)
    with monkeypatch.context() as patch:
        killed_after(patch, point, times)
        with pytest.raises(Killed):
            save(store, "d0", plan)

    assert of_runs(store) == [""] * 12
    assert store.board("c").queued == ()
    assert store.lease_pack("e", "d1", TTL) is None
    assert store.lease_unplanned("d1", TTL) is None, "its lease has not run out"
    clock.advance(TTL)
    leased = store.lease_unplanned("d1", TTL)
    assert leased is not None
    left = [run.index for run in leased[1]]
    there = store.packs_saved("e")
    whole = times - (point == "plan.during")
    assert left == list(range(4 * whole, 12))
    with pytest.raises(Fenced, match="not leased to 'd0'"):
        save(store, "d0", plan)
    save(store, "d1", [[index] for index in left], there)

    assert of_runs(store) == [f"p{index:02d}" for index in range(12)]
    assert store.board("c").queued[0].packs == 12
    assert [event["pack"] for event in told(store) if "pack" in event] == [f"p{n:02d}" for n in range(12)]


@pytest.mark.usefixtures("parts")
def test_each_part_renews_the_planning_lease(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = begun(store)

    def wait(name: str) -> None:
        if name == "plan.after":
            clock.advance(0.8 * TTL)
            assert store.lease_unplanned("d1", TTL) is None

    monkeypatch.setattr(failpoints, "hit", wait)
    save(store, "d0", plan)

    assert store.board("c").queued[0].packs == 10


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("change", ["cancel", "pause"])
def test_users_come_in_between(store: Store, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    plan = begun(store)
    changed = []

    def between(name: str) -> None:
        if name == "plan.after" and not changed:
            changed.append(name)
            getattr(store, f"{change}_experiment")("e")

    monkeypatch.setattr(failpoints, "hit", between)
    save(store, "d0", plan)

    assert store.board("c").queued == ()
    if change == "cancel":
        assert store.get_experiment("e").state is ExperimentState.CANCELLED
        assert store.idle()
    else:
        store.resume_experiment("e")
        assert store.board("c").queued[0].packs == 10
        assert set(states(store)) == {"QUEUED"}


@pytest.mark.usefixtures("parts")
def test_what_others_do_meanwhile_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two parts another experiment's commit gets its turn."""
    planned(store, [[0]], "other")
    pack = store.lease_pack("other", "d", TTL)
    assert pack is not None
    plan = begun(store)
    renewed = []
    monkeypatch.setattr(
        failpoints,
        "hit",
        lambda name: (
            renewed.append(store.renew([("other", pack.id, pack.token)], TTL))
            if name == "plan.after"
            else None
        ),
    )
    save(store, "d0", plan)

    assert len(renewed) == 3 and all(renewed)
