"""Starts packs and makes room, as decided from the store's board."""

from __future__ import annotations

from collections.abc import Sequence

from ipserver.environment.settings import Settings
from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.fairness import fair_order
from ipserver.scheduling.hands import Hands
from ipserver.scheduling.placed import Placed
from ipserver.scheduling.placement import Cluster
from ipserver.scheduling.schedule import Demand, Holding, schedule
from ipserver.scheduling.unplaced import Unplaced
from ipserver.store import Store
from ipserver.store.records.board import Board, Move
from ipserver.workers.executor import Executor


class Placing:
    """Start packs, and give packs back to make room.

    Args:
        store: The store that holds the board.
        executor: The executor of the workers.
        settings: Leases.
        hands: The packs in hand.
        unplaced: Notifies users whose packs wait for a node.
        owner: Name of this dispatcher in leases.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        settings: Settings,
        hands: Hands,
        unplaced: Unplaced,
        owner: str,
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._hands = hands
        self._unplaced = unplaced
        self._owner = owner
        self._cluster = Cluster()

    def place(self, cluster: Cluster) -> Board:
        """Start packs here, and mark packs of any dispatcher to make room, until nothing is left to do.

        Returns:
            The board when nothing is left to do.
        """
        self._cluster = cluster
        name = self._executor.cluster
        while self._decide(board := self._store.board(name)):
            moved = self._store.place(name, self._owner, self._settings.lease_seconds, self._decide)
            if moved.pack is not None:
                self._start(moved.pack.experiment.shape, moved.pack.experiment.id, moved.node)
                self._hands.start(moved.pack, moved.node)
            elif not moved.decided:
                break  # another dispatcher has done it
        self._give_way(board)
        # No waiting pack could use a kept worker.
        self._executor.trim(shared=any(claim.owner != self._owner for claim in board.claims))
        return board

    def full(self, cluster: Cluster) -> bool:
        """Whether the packs in hand use every core, so that nothing can be started."""
        there = cluster.named()
        used = sum(it.resources.cpus for it in self._hands.placed if it.node in there)
        return not cluster.expected and cluster.total()["cpus"] <= used + 1e-6

    def _decide(self, board: Board) -> Move:
        """The decision; equal for all dispatchers with this board, apart from workers kept here."""
        leaving = self._hands.leaving
        gone = leaving.lease if leaving is not None else None  # its worker is already free for another pack
        claims = [claim for claim in board.claims if claim.lease != gone]
        queued = fair_order(board.queued, claims, self._cluster.total())
        found = schedule(
            self._cluster,
            [Holding(ResourceRequest.of(it.shape), it.priority, it.node, it.leaving) for it in claims],
            [Demand(ResourceRequest.of(it.shape), it.priority, it.packs) for it in queued],
            self._executor.spare(),
        )
        giving = {
            claims[it].lease: (queued[whom] if whom >= 0 else claims[~whom]).experiment
            for it, whom in found.giving.items()
        }
        if found.start is None:
            return Move(None, giving)
        return Move((queued[found.start.demand].experiment, found.start.node), giving)

    def _start(self, shape: str, experiment: str, node: str) -> None:
        asked = ResourceRequest.of(shape)
        if not node and not self._cluster.holds(asked):
            self._unplaced.awaits_node(experiment, asked, self._cluster)

    def _give_way(self, board: Board) -> None:
        """Give back packs marked to make room; packs in training at their next slice boundary."""
        leaving = {claim.lease for claim in board.claims if claim.leaving}
        placed: Sequence[Placed] = [it for it in self._hands.placed if it.lease in leaving]
        for it in placed:
            if it.worker.started():
                it.drain()
            else:
                self._hands.give_back(it)
