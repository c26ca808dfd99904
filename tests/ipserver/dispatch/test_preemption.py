"""Making room: for the more urgent alone, where they fit then, never more than needed; it comes to rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.dispatch.jobs import ResourceRequest
from ipserver.dispatch.placement import Cluster
from ipserver.dispatch.preemption import Demand, Holding, make_room

CPU, TWO, GPU = ResourceRequest(cpus=1), ResourceRequest(cpus=2), ResourceRequest(cpus=1, gpus=1)


def cluster(*nodes, expected=()):
    return Cluster(nodes, expected, tuple(f"n{i}" for i in range(len(nodes))))


def on(node, asked=CPU, priority=0, **more):
    return Holding(asked, priority, f"n{node}", **more)


def pending(asked=CPU, priority=0):
    return Holding(asked, priority, "")


def given_back(there, held, *demands):
    return dict(make_room(there, held, demands).giving)


def test_the_least_urgent_pack_makes_room():
    held = [on(0, priority=2), on(0, priority=1), on(0, priority=1)]  # the last one is the youngest

    assert given_back(cluster({"cpus": 3.0}), held, Demand(CPU, 3)) == {2: 0}
    assert given_back(cluster({"cpus": 3.0}), held, Demand(TWO, 3)) == {1: 0, 2: 0}


def test_nobody_makes_room_for_equals_or_where_there_is_room():
    assert given_back(cluster({"cpus": 1.0}), [on(0)], Demand(CPU, 0)) == {}
    assert given_back(cluster({"cpus": 1.0}), [on(0, priority=1)], Demand(CPU, 0)) == {}
    assert given_back(cluster({"cpus": 2.0}), [on(0)], Demand(CPU, 1)) == {}


def test_nobody_makes_room_in_vain():
    """Two cores would be free then, but on two nodes; or they are, but no GPU is."""
    there = cluster({"cpus": 1.0}, {"cpus": 1.0})

    assert given_back(there, [on(0), on(1)], Demand(TWO, 1)) == {}
    there = cluster({"cpus": 2.0, "gpus": 1.0})
    assert given_back(there, [on(0, GPU, priority=1), on(0)], Demand(GPU, 1)) == {}


def test_it_is_the_packs_of_one_node_that_make_room():
    there = cluster({"cpus": 2.0}, {"cpus": 2.0})
    held = [on(0, priority=1), on(1, priority=1), on(0), on(1, priority=5)]

    assert given_back(there, held, Demand(TWO, 5)) == {0: 0, 2: 0}


def test_what_is_leaving_already_is_enough():
    held = [on(0), on(0, leaving=True)]
    room = make_room(cluster({"cpus": 2.0}), held, [Demand(CPU, 1)])

    assert room.giving == {}
    assert room.kept_for == {0}, "nobody less urgent may take its place"


def test_every_demand_has_a_place_of_its_own():
    held = [on(0), on(0), on(0)]

    assert given_back(cluster({"cpus": 3.0}), held, *[Demand(CPU, 1)] * 2) == {2: 0, 1: 1}
    assert given_back(cluster({"cpus": 4.0}), held, *[Demand(CPU, 1)] * 2) == {2: 1}
    assert len(given_back(cluster({"cpus": 3.0}), held, *[Demand(CPU, 1)] * 9)) == 3


def test_a_more_urgent_pack_in_hand_that_waits_is_helped_first():
    held = [pending(TWO, priority=5), on(0), on(0)]

    assert given_back(cluster({"cpus": 2.0}), held, Demand(CPU, 4)) == {1: -1, 2: -1}
    # It waits for its equals, and what they leave is kept for it.
    held = [pending(TWO, priority=5), on(0, priority=5), on(0)]
    assert given_back(cluster({"cpus": 2.0}), held, Demand(CPU, 4)) == {}


def test_a_less_urgent_pack_that_only_waits_is_taken_back_first():
    """It keeps what is free for itself: two cores beside the two that are in use."""
    held = [on(0, TWO), pending(ResourceRequest(cpus=3))]

    assert given_back(cluster({"cpus": 4.0}), held, Demand(TWO, 1)) == {1: 0}


def test_packs_on_nodes_that_went_make_no_room():
    held = [Holding(CPU, 0, "gone"), on(0, priority=9)]

    assert given_back(cluster({"cpus": 1.0}), held, Demand(CPU, 1)) == {}


def test_nobody_makes_room_on_a_node_that_is_not_there_yet():
    assert given_back(cluster({"cpus": 1.0}, expected=[{"cpus": 2.0}]), [on(0)], Demand(TWO, 1)) == {}


requests = st.builds(
    ResourceRequest, cpus=st.sampled_from([0.5, 1.0, 2.0, 3.0]), gpus=st.sampled_from([0.0, 0.0, 0.0, 1.0])
)
priorities = st.integers(0, 3)


def free_on(there, holdings):
    """What each node has left."""
    room = {name: dict(amounts) for name, amounts in there.named().items()}
    for it in holdings:
        for name, amount in it.asked.amounts().items():
            if it.node in room:
                room[it.node][name] = room[it.node].get(name, 0.0) - amount
    return room


def home_of(there, holdings, asked):
    """The first node on which a pack fits beside others; None: none."""
    room = free_on(there, holdings)
    return next((name for name, free in room.items() if asked.packs_within(free) > 0), None)


@st.composite
def clusters(draw):
    nodes = draw(
        st.lists(
            st.fixed_dictionaries(
                {"cpus": st.sampled_from([1.0, 2.0, 4.0]), "gpus": st.sampled_from([0.0, 1.0])}
            ),
            min_size=1,
            max_size=3,
        )
    )
    there = cluster(*nodes)
    held = []
    for asked, priority in draw(st.lists(st.tuples(requests, priorities), max_size=8)):
        home = home_of(there, held, asked)
        if home is not None:
            held.append(Holding(asked, priority, home))
    return there, sorted(held, key=lambda it: -it.priority)


@given(clusters(), st.builds(Demand, requests, priorities))
def test_one_demand(case, demand):
    there, held = case
    giving = make_room(there, held, [demand]).giving
    staying = [it for position, it in enumerate(held) if position not in giving]

    assert all(held[position].priority < demand.priority for position in giving)
    if home_of(there, held, demand.asked):
        assert not giving
    best = [it for it in held if it.priority >= demand.priority]
    assert bool(home_of(there, staying, demand.asked)) == bool(home_of(there, best, demand.asked))
    if giving:
        for position in giving:  # none of them could have stayed
            assert not home_of(there, [*staying, held[position]], demand.asked)
    elif not home_of(there, held, demand.asked):
        assert not home_of(there, best, demand.asked), "room could have been made"


@given(clusters(), st.lists(st.builds(Demand, requests, priorities), max_size=5))
def test_many_demands(case, demands):
    there, held = case
    demands = sorted(demands, key=lambda it: -it.priority)
    room = make_room(there, held, demands)

    for position, place in room.giving.items():
        assert held[position].priority < demands[place].priority
    # Asked again while they are on their way, it is not more that is wanted.
    leaving = [replace(it, leaving=position in room.giving) for position, it in enumerate(held)]
    again = make_room(there, leaving, demands)
    assert not again.giving
    assert set(room.giving.values()) <= again.kept_for


@dataclass
class Pack:
    """In the simulation below."""

    asked: ResourceRequest
    priority: int
    age: int
    node: str = ""
    gave_way: int = 0


@given(clusters(), st.lists(st.tuples(requests, priorities), max_size=6))
def test_it_comes_to_rest(case, new):
    """Packs give way and start again where there is room, most urgent first, until nothing moves."""
    there, held = case
    packs = [Pack(it.asked, it.priority, age, it.node) for age, it in enumerate(held)]
    packs += [Pack(asked, priority, len(held) + age) for age, (asked, priority) in enumerate(new)]
    packs.sort(key=lambda it: (-it.priority, it.age))
    for _ in range(100):
        training = [it for it in packs if it.node]
        waiting = [it for it in packs if not it.node]
        room = make_room(
            there,
            [Holding(it.asked, it.priority, it.node) for it in training],
            [Demand(it.asked, it.priority) for it in waiting],
        )
        for position in room.giving:
            training[position].node = ""
            training[position].gave_way += 1
        started = False
        for it in waiting + [training[position] for position in sorted(room.giving)]:
            home = home_of(there, [other for other in packs if other.node], it.asked)
            if home is not None:
                it.node, started = home, True
        if not room.giving and not started:
            break
    else:
        pytest.fail("it never came to rest")
    assert all(it.gave_way <= sum(other.priority > it.priority for other in packs) for it in packs)
    assert all(it.gave_way == 0 for it in packs if it.priority == 3), "nobody is above them"
