"""Work that waits for a node: its users are told which one; if none can hold it for long, it ends.

Since when nothing can hold it is kept in the store and judged by the store's clock: a dispatcher that starts
again goes on counting, and one of several that can hold it stops the clock.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Collection

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Cluster
from ipserver.store import Store
from ipserver.store.records import Failure
from ipserver.store.states import FailureReason

_log = logging.getLogger(__name__)
_KINDS_SHOWN = 5
_REMEMBERED = 10_000
# Of a look: commits wait meanwhile, and the others that wait in vain will have their turn.
_SECONDS = 0.02


class Unplaced:
    """Tells those who wait for a node, each sentence once, and ends what has waited in vain.

    Args:
        store: Where experiments are.
        timeout: Seconds for which no node can hold an experiment's packs before they end UNSCHEDULABLE.
    """

    def __init__(self, store: Store, timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._told: dict[str, str] = {}

    def look(self, impossible: Collection[str], cluster: Cluster) -> None:
        """Take note of experiments that wait in vain, of some at a time, and of those that do no more.

        Args:
            impossible: Shapes that wait and that no node, there or to be added, has the resources for. What
                others use just now is no obstacle.
            cluster: Its nodes.
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
        """Say that a pack is placed now to wait for a node that can be added."""
        self._tell(experiment, f"a pack waits for a node to be added: it {wish(asked, cluster)}")

    def _tell(self, experiment: str, notice: str) -> None:
        if self._told.get(experiment) != notice:
            if len(self._told) >= _REMEMBERED:
                self._told.pop(next(iter(self._told)))
            self._told[experiment] = notice
            self._store.notice(experiment, notice)


def wish(asked: ResourceRequest, cluster: Cluster) -> str:
    """What a pack asks for, and what is there.

    >>> wish(ResourceRequest(cpus=8), Cluster([{"cpus": 4.0}, {"cpus": 4.0}], [{"cpus": 6.0}]))
    'asks for 8 cpus; nodes that are there: 2 of 4 cpus; nodes that can be added have 6 cpus'
    """
    kinds = collections.Counter(_amounts(node) for node in cluster.nodes).most_common()
    there = ", ".join(f"{count} of {kind or 'nothing'}" for kind, count in kinds[:_KINDS_SHOWN]) or "none"
    if len(kinds) > _KINDS_SHOWN:
        there += f" and {len(kinds) - _KINDS_SHOWN} kinds more"
    text = f"asks for {_amounts(asked.amounts())}; nodes that are there: {there}"
    if cluster.expected:
        text += f"; nodes that can be added have {' or '.join(map(_amounts, cluster.expected))}"
    return text


def _amounts(amounts: Amounts) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in sorted(amounts.items()) if amount)
