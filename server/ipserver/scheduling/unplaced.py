"""Experiments that wait for a node: their users are notified, and packs that no node can hold end in time.

The store records since when no node can hold an experiment's packs, by its own clock. So a restarted
dispatcher continues the count, and any dispatcher whose cluster can hold the packs resets it.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Collection

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Cluster
from ipserver.store import Store
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason

_log = logging.getLogger(__name__)
_KINDS_SHOWN = 5
_REMEMBERED = 10_000
# Time limit of one look in seconds, because commits wait meanwhile; other experiments follow in later looks.
_SECONDS = 0.02


class Unplaced:
    """Notify users whose packs wait for a node, each message once, and end packs that waited too long.

    Args:
        store: The store.
        timeout: Seconds for which no node can hold an experiment's packs before they end UNSCHEDULABLE.
    """

    def __init__(self, store: Store, timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._told: dict[str, str] = {}

    def look(self, impossible: Collection[str], cluster: Cluster) -> None:
        """Record some of the experiments that no node can hold, and those that a node can hold again.

        Args:
            impossible: Waiting shapes for which no node, present or expected, has the resources, whether or
                not they are in use.
            cluster: The cluster's nodes.
        """
        until = time.monotonic() + _SECONDS
        for experiment in self._store.placeable_again(impossible):
            self._told.pop(experiment, None)
            self._store.placeable(experiment)
            if time.monotonic() > until:
                return
        for experiment, shape in self._store.unplaceable_due(impossible, self._timeout) if impossible else ():
            if time.monotonic() > until:
                return
            wanted = f"it {wish(ResourceRequest.of(shape), cluster)}"
            end = f"it fails after {self._timeout:g} s unless one joins that can"
            self._tell(experiment, f"no node can hold a pack: {wanted}; {end}")
            message = f"for {self._timeout:g} s no node could hold a pack: {wanted}"
            ended = self._store.unplaceable(
                experiment, self._timeout, Failure(FailureReason.UNSCHEDULABLE, message)
            )
            if ended:
                self._told.pop(experiment, None)
                _log.warning("%d packs of %s ended: %s", ended, experiment, message)

    def awaits_node(self, experiment: str, asked: ResourceRequest, cluster: Cluster) -> None:
        """Notify that a pack has been placed to wait for a node that can be added."""
        self._tell(experiment, f"a pack waits for a node to be added: it {wish(asked, cluster)}")

    def _tell(self, experiment: str, notice: str) -> None:
        if self._told.get(experiment) != notice:
            if len(self._told) >= _REMEMBERED:
                self._told.pop(next(iter(self._told)))
            self._told[experiment] = notice
            self._store.notice(experiment, notice)


def wish(asked: ResourceRequest, cluster: Cluster) -> str:
    """Text that compares a pack's request with the nodes.

    >>> wish(ResourceRequest(cpus=8), Cluster([{"cpus": 4.0}, {"cpus": 4.0}], [{"cpus": 6.0}]))
    'asks for 8 cpus; present nodes: 2 of 4 cpus; nodes that can be added have 6 cpus'
    """
    kinds = collections.Counter(_amounts(node) for node in cluster.nodes).most_common()
    there = ", ".join(f"{count} of {kind or 'nothing'}" for kind, count in kinds[:_KINDS_SHOWN]) or "none"
    if len(kinds) > _KINDS_SHOWN:
        there += f" and {len(kinds) - _KINDS_SHOWN} kinds more"
    text = f"asks for {_amounts(asked.amounts())}; present nodes: {there}"
    if cluster.expected:
        text += f"; nodes that can be added have {' or '.join(map(_amounts, cluster.expected))}"
    return text


def _amounts(amounts: Amounts) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in sorted(amounts.items()) if amount)
