"""Methods on waiting packs, for dispatchers: plans, the board, packs that no node can hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ipserver.store.interface.base import Transactions
from ipserver.store.records.board import Board, Move, Moved
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import Failure, RunRecord
from ipserver.store.transactions import board, capacity, leases, planning, unplaceable


class Planning(Transactions):
    """Methods on waiting packs, for dispatchers: plans, the board, packs that no node can hold."""

    def lease_unplanned(self, owner: str, ttl: float) -> tuple[ExperimentRecord, list[RunRecord]] | None:
        """Lease an experiment to plan, highest priority first, then oldest; None if there is none.

        Returns it with its queued runs. Runs that an interrupted planner has put into packs are left out.
        """
        if not self.database.read(planning.unplanned):
            return None  # the usual case takes no write transaction
        found = self.database.write(planning.lease, owner, ttl)
        return None if found is None else self.database.read(planning.unpacked, found)

    def packs_saved(self, experiment: str) -> int:
        """Number of an experiment's packs, also while it is being planned; new packs need other ids."""
        return self.database.read(planning.saved, experiment)

    def save_plan(self, experiment: str, owner: str, packs: Sequence[NewPack], ttl: float = 15.0) -> None:
        """Save a leased experiment's packs, which never change. Runs cancelled in the meantime are left out.

        A large plan is saved in several transactions, so that commits can run in between. It takes effect,
        and runs show their packs, when it is complete. If the planner dies earlier, the next one plans the
        rest.

        Args:
            experiment: The experiment's id.
            owner: Name of the lease's holder.
            packs: Packs with every queued run in exactly one of them.
            ttl: Length of the planning lease, renewed with each part.

        Raises:
            Fenced: The experiment is already planned, or leased to another dispatcher.
            ValueError: A queued run is in no pack, or a run is in two.
            NotFound: There is no such experiment.
        """
        self.database.read(planning.check, experiment, owner, packs)
        *first, last = planning.parts(packs)
        for part in first:
            self._watched("plan", planning.save, experiment, owner, part, ttl, False)
        self._watched("plan", planning.save, experiment, owner, last, ttl, True)

    def refuse_plan(self, experiment: str, owner: str, failure: Failure) -> None:
        """End a leased experiment that cannot be planned: its queued runs are FAILED.

        Raises:
            Fenced: The experiment is already planned, or leased to another dispatcher.
            NotFound: There is no such experiment.
        """
        self.database.write(planning.refuse, experiment, owner, failure)

    def waiting(self, limit: int = 100) -> list[ExperimentRecord]:
        """Experiments with packs that wait for a worker, by priority and age; paused ones are left out."""
        return self.database.read(leases.waiting, limit)

    def board(self, cluster: str) -> Board:
        """Leased and waiting packs of a cluster."""
        return self.database.read(board.look, cluster)

    def place(self, cluster: str, owner: str, ttl: float, decide: Callable[[Board], Move]) -> Moved:
        """Read the board, decide, and apply the decision in one transaction; dispatchers take turns.

        Args:
            cluster: The cluster whose board is read.
            owner: The dispatcher that will train the leased pack.
            ttl: Length of the lease.
            decide: Makes the decision; may be called several times. If the decision marks packs to make
                room, only that is applied, and a start is left for the next call.
        """
        return self._watched("lease", board.place, cluster, owner, ttl, decide)

    def lie(self, experiment: str, pack: str, token: int, node: str) -> None:
        """Record the node of a leased pack if the token is current."""
        self.database.write(board.lie, experiment, pack, token, node)

    def unplaceable_due(self, impossible: Collection[str], timeout: float) -> list[tuple[str, str]]:
        """Some waiting experiments, with their shapes, for which `unplaceable` should be called.

        Args:
            impossible: Shapes that no node can hold.
            timeout: As for `unplaceable`.
        """
        return self.database.read(unplaceable.overdue, impossible, timeout)

    def placeable_again(self, impossible: Collection[str]) -> list[str]:
        """Some waiting experiments recorded as unplaceable whose shape is not among `impossible`."""
        return self.database.read(unplaceable.again, impossible)

    def unplaceable(self, experiment: str, timeout: float, failure: Failure) -> int:
        """Record that no node can hold the experiment's waiting packs. Repeatable.

        Args:
            experiment: The experiment's id.
            timeout: Seconds after the first record until its queued runs are FAILED.
            failure: The failure of these runs.

        Returns:
            Number of packs that have ended.

        Raises:
            NotFound: There is no such experiment.
        """
        return self.database.write(unplaceable.unplaceable, experiment, timeout, failure)

    def placeable(self, experiment: str) -> None:
        """Record that a node can hold the experiment's packs (again). Raises NotFound."""
        self.database.write(unplaceable.placeable, experiment)

    def save_capacity(self, report: CapacityReport) -> None:
        """Replace the report on the cluster. Its time is taken from the store's clock."""
        self.database.write(capacity.save, report)

    def capacity(self) -> CapacityReport | None:
        """The newest report on the cluster, or None."""
        return self.database.read(capacity.load)

    def idle(self) -> bool:
        """Whether nothing waits to be planned or trained, and nothing trains; ignores paused experiments."""
        return self.database.read(planning.idle)
