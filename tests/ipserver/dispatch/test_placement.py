"""What may be started: what is free, one pack that waits, and no pack that holds up others for nothing."""

import pytest

from ipserver.dispatch.jobs import ResourceRequest
from ipserver.dispatch.placement import Claim, Cluster

CPU = ResourceRequest(cpus=1)
GPU = ResourceRequest(cpus=1, gpus=1)
GPU_NODE = {"cpus": 8.0, "gpus": 1.0}


def runs(asked):
    return Claim(asked, started=True)


def waits(asked):
    return Claim(asked, started=False)


def test_what_is_there_and_what_can_be_added():
    cluster = Cluster([{"cpus": 4.0}, {"cpus": 2.0, "disk": 1.0}], [GPU_NODE])

    assert cluster.total() == {"cpus": 6.0, "gpus": 0.0, "disk": 1.0}
    assert cluster.holds(CPU) and not cluster.holds(GPU)
    assert cluster.expects(CPU) and cluster.expects(GPU)
    assert cluster.slots(CPU) == 4 + 2 + 8
    assert cluster.slots(GPU) == 1
    # Six cores are there, but on two nodes.
    assert not cluster.holds(ResourceRequest(cpus=6))
    assert cluster.slots(ResourceRequest(cpus=3)) == 1 + 0 + 2


@pytest.mark.parametrize("asked", [GPU, ResourceRequest(cpus=5), ResourceRequest(custom={"disk": 1.0})])
def test_what_no_node_can_hold_is_not_started(asked):
    assert not Cluster([{"cpus": 4.0}, {"cpus": 4.0}]).may_start(asked, [])


def test_what_is_free_is_used_at_once():
    """Packs that are starting (a process takes seconds) do not hold up those that find room beside them."""
    cluster = Cluster([{"cpus": 4.0}])

    assert cluster.may_start(CPU, [waits(CPU)] * 3)
    assert not cluster.may_start(CPU, [waits(CPU)] * 4)
    assert not cluster.may_start(CPU, [runs(CPU)] * 4)


def test_a_pack_that_waits_keeps_its_place():
    """A pack of 3 cores beside two of 1 on a node of 4: what is free is kept until it can start."""
    cluster = Cluster([{"cpus": 4.0}])
    large = ResourceRequest(cpus=3)

    assert cluster.may_start(large, [runs(CPU), runs(CPU)])
    assert cluster.left([runs(CPU), runs(CPU), waits(large)])["cpus"] == -1
    assert not cluster.may_start(CPU, [runs(CPU), runs(CPU), waits(large)])
    assert not cluster.may_start(large, [runs(CPU), runs(CPU), waits(large)])


def test_nothing_is_kept_for_a_pack_while_all_of_a_resource_is_in_use():
    """The next GPU pack waits in the queue: on the cores beside a busy GPU others train."""
    cluster = Cluster([GPU_NODE])

    assert not cluster.may_start(GPU, [runs(GPU)])
    assert cluster.may_start(CPU, [runs(GPU)])


def test_a_node_is_asked_for_by_one_pack_that_waits():
    cluster = Cluster([{"cpus": 1.0}], [GPU_NODE])

    assert cluster.may_start(GPU, [])
    assert not cluster.may_start(GPU, [waits(GPU)])
    assert cluster.may_start(GPU, [runs(CPU), waits(CPU)])


def test_a_pack_that_waits_for_a_node_takes_nothing_of_those_that_are_there():
    cluster = Cluster([{"cpus": 1.0}], [GPU_NODE])

    assert cluster.may_start(CPU, [waits(GPU)])
    assert cluster.left([waits(GPU)])["cpus"] == 1


def test_a_full_cluster_asks_for_a_further_node():
    cluster = Cluster([{"cpus": 2.0}], [{"cpus": 2.0}])

    assert cluster.may_start(CPU, [runs(CPU), runs(CPU)])
    assert not cluster.may_start(CPU, [runs(CPU), runs(CPU), waits(CPU)])


def test_ten_tenths_are_a_core():
    tenth = ResourceRequest(cpus=0.1)

    assert Cluster([{"cpus": 1.0}]).may_start(tenth, [runs(tenth)] * 9)
    assert not Cluster([{"cpus": 1.0}]).may_start(tenth, [runs(tenth)] * 10)


def test_a_cluster_from_nothing():
    assert Cluster((), [GPU_NODE]).may_start(CPU, [])
    assert not Cluster((), ()).may_start(CPU, [])


def test_fractions_are_counted_exactly():
    assert ResourceRequest(cpus=0.1).packs_within({"cpus": 0.3}) == 3  # 0.3 / 0.1 is 2.99.. in doubles
    assert ResourceRequest(cpus=0.7).packs_within({"cpus": 2.0}) == 2
    assert ResourceRequest(gpus=0.0001, cpus=1).packs_within({"cpus": 1.0}) == 0
