"""Which packs start and which are preempted: the most urgent first, and never more than needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Cluster, filled
from ipserver.scheduling.schedule import Demand, Holding, Schedule, Start, schedule

CPU, TWO, THREE = (ResourceRequest(cpus=cpus) for cpus in (1, 2, 3))
GPU = ResourceRequest(cpus=1, gpus=1)
GPU_NODE = {"cpus": 8.0, "gpus": 1.0}


def cluster(*nodes, expected=()):
    return Cluster(nodes, expected, tuple(f"n{i}" for i in range(len(nodes))))


def on(node, asked=CPU, priority=0, **more):
    return Holding(asked, priority, f"n{node}", **more)


def awaits(asked=CPU, priority=0, **more):
    return Holding(asked, priority, "", **more)


def wants(*asked, priority=0):
    return [Demand(it, priority) for it in asked]


def start(there, held, *demands):
    return schedule(there, held, demands).start


def given_back(there, held, *demands):
    return dict(schedule(there, held, demands).giving)


def test_what_is_free_is_used_by_the_most_urgent():
    there = cluster({"cpus": 4.0})

    assert start(there, [on(0)] * 3, *wants(CPU, CPU)) == Start(0, "n0")
    assert start(there, [on(0)] * 4, *wants(CPU)) is None
    assert start(there, [on(0)] * 3, *wants(TWO, priority=1), *wants(CPU)) is None
    assert start(cluster(), [], *wants(CPU)) is None


def test_the_first_that_has_to_wait_keeps_its_place():
    """A pack of 3 cores beside two of 1 on a node of 4: free cores are reserved until it can start."""
    there = cluster({"cpus": 4.0})

    assert start(there, [on(0), on(0)], *wants(THREE, CPU)) is None
    assert start(there, [on(0)], *wants(THREE, CPU)) == Start(0, "n0")
    # Others start on another node, and beside the reserved cores.
    assert start(cluster({"cpus": 3.0}, {"cpus": 1.0}), [on(0)], *wants(THREE, CPU)) == Start(1, "n1")
    assert start(cluster({"cpus": 5.0}), [on(0, THREE)], *wants(THREE, CPU)) is None
    assert start(cluster({"cpus": 5.0, "disk": 1.0}), [on(0)], *wants(GPU, CPU)) == Start(1, "n0")


def test_only_the_first_keeps_a_place():
    there = cluster({"cpus": 3.0}, {"cpus": 3.0})

    assert start(there, [on(0), on(1)], *wants(THREE, THREE, CPU)) == Start(2, "n1")


def test_nothing_is_kept_while_all_of_a_resource_is_in_use():
    """While the next GPU pack waits, others train on the cores beside the busy GPU."""
    there = cluster(GPU_NODE)

    assert start(there, [on(0, GPU)], *wants(GPU, CPU)) == Start(1, "n0")


def test_a_node_with_a_gpu_is_left_to_those_who_need_one():
    there = cluster(GPU_NODE, {"cpus": 8.0})

    assert start(there, [], *wants(CPU)) == Start(0, "n1")
    assert start(there, [on(1, ResourceRequest(cpus=8))], *wants(CPU)) == Start(0, "n0")


def test_the_fullest_node_is_filled_first_but_a_kept_worker_is_better():
    there = cluster({"cpus": 4.0}, {"cpus": 4.0})

    assert start(there, [on(1)], *wants(CPU)) == Start(0, "n1")
    assert schedule(there, [on(1)], wants(CPU), [(CPU, "n0")]).start == Start(0, "n0")
    assert schedule(there, [on(1)], wants(CPU), [(TWO, "n0")]).start == Start(0, "n1")


def test_a_node_of_each_kind_is_asked_for_by_one_pack():
    there = cluster({"cpus": 1.0}, expected=[GPU_NODE])

    assert start(there, [], *wants(GPU)) == Start(0, "")
    assert start(there, [awaits(GPU)], *wants(GPU)) is None
    assert start(there, [awaits(GPU)], *wants(CPU)) == Start(0, "n0"), "it takes nothing of what is there"
    assert start(cluster({"cpus": 2.0}, expected=[{"cpus": 2.0}]), [on(0)] * 2, *wants(CPU)) == Start(0, "")
    assert start(cluster(expected=[GPU_NODE]), [], *wants(CPU)) == Start(0, "")
    kinds = cluster(expected=[{"cpus": 1.0}, GPU_NODE])
    assert start(kinds, [awaits(CPU)], *wants(GPU)) == Start(0, "")


def test_what_waits_for_a_node_takes_one_that_becomes_free_here():
    there = cluster({"cpus": 1.0}, expected=[{"cpus": 2.0}])

    assert start(there, [awaits(CPU)], *wants(CPU)) is None
    assert start(there, [awaits(CPU)], *wants(CPU, priority=1)) == Start(0, "n0")


def test_what_waits_for_a_node_is_not_overtaken_where_a_present_node_could_hold_it():
    """An autoscaler may be unable to add a node: packs that come later must not starve it."""
    there = cluster({"cpus": 4.0}, expected=[{"cpus": 4.0}])
    four = ResourceRequest(cpus=4)

    assert start(there, [on(0), awaits(four)], *wants(CPU)) is None
    assert start(there, [on(0), awaits(four)], *wants(CPU, priority=1)) == Start(0, "n0")
    assert start(there, [on(0), awaits(four)], *wants(four)) is None
    # A less urgent pack makes room for it, and nobody less urgent takes what becomes free.
    assert given_back(there, [awaits(four, priority=2), on(0)], *wants(CPU)) == {1: ~0}
    leaving = [awaits(four, priority=2), on(0, leaving=True)]
    assert schedule(there, leaving, wants(CPU, priority=1)) == Schedule(None, {})
    # What will be given back itself claims nothing.
    assert start(there, [on(0), awaits(four, leaving=True)], *wants(CPU)) == Start(0, "n0")


def test_a_less_urgent_pack_that_waits_for_a_node_lets_a_more_urgent_one_wait():
    there = cluster(expected=[GPU_NODE])

    assert given_back(there, [awaits(GPU)], *wants(GPU, priority=1)) == {0: 0}
    assert given_back(there, [awaits(GPU, priority=1)], *wants(GPU, priority=1)) == {}


def test_the_least_urgent_pack_makes_room():
    held = [on(0, priority=2), on(0, priority=1), on(0, priority=1)]  # the last one is the youngest

    assert given_back(cluster({"cpus": 3.0}), held, Demand(CPU, 3)) == {2: 0}
    assert given_back(cluster({"cpus": 3.0}), held, Demand(TWO, 3)) == {1: 0, 2: 0}


def test_nobody_makes_room_for_equals_or_where_there_is_room():
    assert given_back(cluster({"cpus": 1.0}), [on(0)], Demand(CPU, 0)) == {}
    assert given_back(cluster({"cpus": 1.0}), [on(0, priority=1)], Demand(CPU, 0)) == {}
    assert given_back(cluster({"cpus": 2.0}), [on(0)], Demand(CPU, 1)) == {}


def test_nobody_makes_room_in_vain():
    """Two cores would become free, but on two nodes; or on one node, but without a GPU."""
    there = cluster({"cpus": 1.0}, {"cpus": 1.0})

    assert given_back(there, [on(0), on(1)], Demand(TWO, 1)) == {}
    there = cluster({"cpus": 2.0, "gpus": 1.0})
    assert given_back(there, [on(0, GPU, priority=1), on(0)], Demand(GPU, 1)) == {}
    there = cluster({"cpus": 8.0, "gpus": 2.0})
    parts = [on(0, ResourceRequest(gpus=0.6), priority=1), on(0, ResourceRequest(gpus=0.6), priority=1)]
    assert given_back(there, [*parts, on(0)], Demand(ResourceRequest(gpus=0.6), 1)) == {}


def test_it_is_the_packs_of_one_node_that_make_room():
    there = cluster({"cpus": 2.0}, {"cpus": 2.0})
    held = [on(1, priority=5), on(0, priority=1), on(1, priority=1), on(0)]

    assert given_back(there, held, Demand(TWO, 5)) == {1: 0, 3: 0}


def test_what_is_leaving_already_is_enough_and_nobody_less_urgent_takes_it():
    held = [on(0), on(0, leaving=True)]

    assert given_back(cluster({"cpus": 2.0}), held, Demand(CPU, 1)) == {}
    both = [on(0, THREE, leaving=True)]  # one core is free, but the large pack will need it
    assert start(cluster({"cpus": 4.0}), both, Demand(ResourceRequest(cpus=4), 1), Demand(CPU, 0)) is None
    assert start(cluster({"cpus": 5.0}), both, Demand(ResourceRequest(cpus=4), 1), Demand(CPU, 0)) is None


def test_every_demand_has_a_place_of_its_own():
    held = [on(0), on(0), on(0)]

    assert given_back(cluster({"cpus": 3.0}), held, *[Demand(CPU, 1)] * 2) == {2: 0, 1: 1}
    assert given_back(cluster({"cpus": 3.0}), held, Demand(CPU, 1, packs=2)) == {2: 0, 1: 0}
    assert len(given_back(cluster({"cpus": 3.0}), held, *[Demand(CPU, 1)] * 9)) == 3


def test_packs_on_nodes_that_went_make_no_room():
    held = [Holding(CPU, 0, "gone"), on(0, priority=9)]

    assert given_back(cluster({"cpus": 1.0}), held, Demand(CPU, 1)) == {}


def test_nobody_makes_room_on_a_node_that_is_not_there_yet():
    assert given_back(cluster({"cpus": 1.0}, expected=[{"cpus": 2.0}]), [on(0)], Demand(TWO, 1)) == {}


requests = st.builds(
    ResourceRequest,
    cpus=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    gpus=st.sampled_from([0.0, 0.0, 0.0, 0.6, 1.0]),
)
priorities = st.integers(0, 3)


def home_of(there, holdings, asked):
    """The first node on which a pack fits beside others; None: none."""
    for name, amounts in there.named().items():
        if filled(amounts, [it.asked for it in holdings if it.node == name]).fits(asked):
            return name
    return None


def all_fit(there, holdings, wanted):
    """Whether there are nodes for all of some packs beside others."""
    if not wanted:
        return True
    asked, *rest = wanted
    return any(
        filled(amounts, [it.asked for it in holdings if it.node == name]).fits(asked)
        and all_fit(there, [*holdings, Holding(asked, 0, name)], rest)
        for name, amounts in there.named().items()
    )


@st.composite
def clusters(draw):
    nodes = draw(
        st.lists(
            st.fixed_dictionaries(
                {"cpus": st.sampled_from([1.0, 2.0, 4.0]), "gpus": st.sampled_from([0.0, 1.0, 2.0])}
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
    found = schedule(there, held, [demand])
    staying = [it for position, it in enumerate(held) if position not in found.giving]

    assert all(held[position].priority < demand.priority for position in found.giving)
    assert (found.start is not None) == (home_of(there, held, demand.asked) is not None)
    if found.start:
        assert not found.giving
        return
    if found.giving:
        assert home_of(there, staying, demand.asked)
        for position in found.giving:  # all of them had to give way
            assert not home_of(there, [*staying, held[position]], demand.asked)
    else:
        best = [it for it in held if it.priority >= demand.priority]
        assert not home_of(there, best, demand.asked), "room could have been made"


@given(clusters(), st.lists(st.builds(Demand, requests, priorities), max_size=5))
def test_many_demands(case, demands):
    there, held = case
    demands = sorted(demands, key=lambda it: -it.priority)
    found = schedule(there, held, demands)

    for position, place in found.giving.items():
        assert held[position].priority < demands[place].priority
    # While they are giving way, no others are asked.
    leaving = [replace(it, leaving=position in found.giving) for position, it in enumerate(held)]
    again = schedule(there, leaving, demands)
    assert not again.giving or found.start is not None
    # Packs that start meanwhile take no capacity that is freed for more urgent ones.
    then = [it for position, it in enumerate(held) if position not in found.giving]
    promised = sorted(set(found.giving.values()))
    if again.start is not None:
        started = demands[again.start.demand]
        then.append(Holding(started.asked, started.priority, again.start.node))
        promised = [place for place in promised if place < again.start.demand]
    assert all_fit(there, then, [demands[place].asked for place in promised]), "their room is gone"


@pytest.mark.parametrize("count", [1000])
def test_the_work_is_bounded_by_the_shapes(count):
    """A pack like a more urgent one that did not fit is skipped."""
    demands = [Demand(CPU, 5, packs=10_000) for _ in range(count)]

    assert schedule(cluster({"cpus": 1.0}), [on(0, priority=5)], demands).start is None
