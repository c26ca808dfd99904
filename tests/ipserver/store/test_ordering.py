"""Runs in any order, page by page: as sorted in memory, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ipserver.store import Store
from ipserver.store.records.filters import ALL, Comparison, Filter, Order
from ipserver.store.records.runs import RunRecord
from ipserver.store.summary import Summary
from tests.ipserver.store.cases import a_slice, lease, new_experiment, new_pack, new_runs
from tests.ipserver.store.test_extending import extension

LOSSES = [0.5, None, 0.25, 0.5, 1 / 3, None, 0.1, 0.5]
DOWN = Order("final_test_loss", descending=True)
UP = Order("final_test_loss")


@pytest.fixture
def trained(store: Store) -> Store:
    """Eight runs of widths 64 and 128, of which two have no loss."""
    runs = [replace(run, width=64 << (run.index % 2)) for run in new_runs(8)]
    store.create_experiment(new_experiment(), runs)
    store.lease_unplanned("planner", 60.0)
    store.save_plan("e", "planner", [new_pack("p0", range(8))])
    pack = lease(store)
    summaries = {index: Summary(final_test_loss=loss) for index, loss in enumerate(LOSSES)}
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 4, summaries=summaries))
    return store


def pages(store: Store, order: Sequence[Order], size: int, where: Filter = ALL) -> list[int]:
    """All runs in an order, by pages of one size."""
    found: list[RunRecord] = []
    place: tuple[Any, ...] = ()
    while page := store.list_runs("e", where, limit=size, order=order, place=place):
        found += page
        last = page[-1]
        place = (*(value(last, key.field) for key in order), last.index)
    return [run.index for run in found]


def value(run: RunRecord, field: str) -> Any:
    return getattr(run, field) if hasattr(run, field) else getattr(run.summary, field)


def last(sign: int) -> Callable[[int], tuple[bool, float]]:
    """A key of `sorted` by loss: None last in either direction."""
    return lambda index: (LOSSES[index] is None, sign * (LOSSES[index] or 0.0))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_pages_in_any_order_are_those_of_the_whole(trained: Store, size: int) -> None:
    every = range(8)
    assert pages(trained, [UP], size) == sorted(every, key=last(1))
    assert pages(trained, [DOWN], size) == sorted(every, key=last(-1))
    width = Order("width", descending=True)
    assert pages(trained, [width, UP], size) == sorted(every, key=lambda i: (-(i % 2), last(1)(i)))
    assert pages(trained, [DOWN, width], size) == sorted(every, key=lambda i: (last(-1)(i), -(i % 2)))
    assert pages(trained, [Order("index", descending=True)], size) == [*reversed(every)]
    assert pages(trained, [Order("state"), Order("pack")], size) == [*every]
    narrow = Comparison("width", "=", 64)
    assert pages(trained, [DOWN], size, narrow) == sorted([0, 2, 4, 6], key=last(-1))


def test_a_pack_counts_once_the_plan_is_complete(trained: Store) -> None:
    by_pack = [Order("pack", descending=True)]
    trained.extend_experiment("e", extension(8, 2))
    assert pages(trained, by_pack, 3) == [*range(10)], "p0, then those in no pack"
    trained.lease_unplanned("planner", 60.0)
    trained.save_plan("e", "planner", [new_pack("p1", [8, 9])])
    assert pages(trained, by_pack, 3) == [8, 9, *range(8)]


def test_another_field_is_refused(trained: Store) -> None:
    with pytest.raises(ValueError, match="there is no field 'colour'"):
        trained.list_runs("e", limit=9, order=[Order("colour")])
