"""Notices about packs that wait for a node."""

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Cluster
from ipserver.scheduling.unplaced import wish


def test_nodes_are_told_by_kind_since_a_pack_lies_on_one():
    cluster = Cluster([{"cpus": 4.0, "gpus": 0.0}] * 3 + [{"cpus": 8.0, "gpus": 1.0}], [{"cpus": 2.5}])

    assert wish(ResourceRequest(cpus=8, gpus=2), cluster) == (
        "asks for 8 cpus + 2 gpus; present nodes: 3 of 4 cpus, 1 of 8 cpus + 1 gpus; "
        "nodes that can be added have 2.5 cpus"
    )


def test_a_cluster_without_nodes_or_with_many_kinds():
    assert wish(ResourceRequest(), Cluster()) == "asks for 1 cpus; present nodes: none"
    many = Cluster([{"cpus": float(n)} for n in range(8)])
    assert wish(ResourceRequest(), many) == (
        "asks for 1 cpus; present nodes: "
        "1 of nothing, 1 of 1 cpus, 1 of 2 cpus, 1 of 3 cpus, 1 of 4 cpus and 3 kinds more"
    )
