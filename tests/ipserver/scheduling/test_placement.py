"""Resources of nodes, and which packs fit together: exact amounts, and GPUs device by device."""

import pytest

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Cluster, Room, filled

CPU = ResourceRequest(cpus=1)
GPU = ResourceRequest(cpus=1, gpus=1)
GPU_NODE = {"cpus": 8.0, "gpus": 1.0}


def test_what_is_there_and_what_can_be_added():
    cluster = Cluster([{"cpus": 4.0}, {"cpus": 2.0, "disk": 1.0}], [GPU_NODE])

    assert cluster.total() == {"cpus": 6.0, "gpus": 0.0, "disk": 1.0}
    assert cluster.holds(CPU) and not cluster.holds(GPU)
    assert cluster.kind(CPU) == cluster.kind(GPU) == 0
    assert cluster.slots(CPU) == 4 + 2 + 8
    assert cluster.slots(GPU) == 1
    # There are six cores, but on two nodes.
    assert not cluster.holds(ResourceRequest(cpus=6))
    assert cluster.slots(ResourceRequest(cpus=3)) == 1 + 0 + 2


@pytest.mark.parametrize("asked", [GPU, ResourceRequest(cpus=5), ResourceRequest(custom={"disk": 1.0})])
def test_what_no_node_can_hold(asked):
    assert not Cluster([{"cpus": 4.0}, {"cpus": 4.0}]).could_hold(asked)


def test_ten_tenths_are_a_core():
    tenth = ResourceRequest(cpus=0.1)

    assert filled({"cpus": 1.0}, [tenth] * 9).fits(tenth)
    assert not filled({"cpus": 1.0}, [tenth] * 10).fits(tenth)


def test_fractions_are_counted_exactly():
    assert ResourceRequest(cpus=0.1).packs_within({"cpus": 0.3}) == 3  # 0.3 / 0.1 is 2.99.. in doubles
    assert ResourceRequest(cpus=0.7).packs_within({"cpus": 2.0}) == 2
    assert ResourceRequest(gpus=0.0001, cpus=1).packs_within({"cpus": 1.0}) == 0


@pytest.mark.parametrize(
    ("devices", "taken", "asked", "fits"),
    [
        (2, [0.6, 0.6], 0.6, False),  # 0.8 are left, 0.4 on each
        (2, [0.6, 0.4], 1, True),  # both lie on one
        (2, [0.6], 2, False),
        (2, [0.5, 0.5], 1, True),
        (3, [0.6, 0.6], 1, True),
        (4, [2, 0.5], 1, True),
        (4, [2, 0.5], 2, False),
        (1, [0.25] * 3, 0.25, True),
        (1, [0.25] * 4, 0.25, False),
        (0, [], 0.1, False),
    ],
)
def test_a_part_of_a_gpu_lies_on_one_device(devices, taken, asked, fits):
    node = {"cpus": 64.0, "gpus": float(devices)}

    room = filled(node, [ResourceRequest(gpus=gpus) for gpus in taken])

    assert room.fits(ResourceRequest(gpus=asked)) is fits


def test_slots_are_counted_as_they_are_filled():
    for gpus in (0.3, 0.5, 0.6, 1.0, 2.0):
        asked, node = ResourceRequest(cpus=0.5, gpus=gpus), {"cpus": 8.0, "gpus": 3.0}
        room, count = Room(node), 0
        while room.fits(asked):
            room.take(asked)
            count += 1
        assert count == asked.packs_within(node)


def test_what_is_withheld_is_not_there_for_others():
    room = filled({"cpus": 4.0, "gpus": 2.0}, [GPU])

    room.withhold(ResourceRequest(cpus=8, gpus=2))

    assert not room.has_some(ResourceRequest(cpus=0.1))
    assert not room.has_some(ResourceRequest(gpus=0.1))
