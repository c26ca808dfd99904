"""Methods on leased and ended packs, for dispatchers."""

from __future__ import annotations

from collections.abc import Collection

from ipserver.store.interface.base import Transactions
from ipserver.store.records.files import CheckpointRecord
from ipserver.store.records.packs import EndedPack, LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.records.slices import CommitResult, SliceCommit
from ipserver.store.transactions import commits, leases, splitting, sweeping


class Training(Transactions):
    """Methods on leased and ended packs, for dispatchers."""

    def lease_pack(self, experiment: str, owner: str, ttl: float) -> LeasedPack | None:
        """The experiment's next pack to train, under a new token; its runs are RUNNING from now on.

        Args:
            experiment: The experiment's id.
            owner: The dispatcher that will train it.
            ttl: Length of the lease.

        Returns:
            The first waiting pack by id; None if no pack waits (any more) or the experiment is paused.

        Raises:
            NotFound: There is no such experiment.
        """
        return self._watched("lease", leases.lease, experiment, owner, ttl)

    def renew(self, held: Collection[tuple[str, str, int]], ttl: float) -> set[tuple[str, str, int]]:
        """Renew leases.

        Args:
            held: (experiment, pack, token) of the caller's packs. Only these are renewed: a lease that its
                holder does not know of, because the answer to `lease_pack` was lost, must expire.
            ttl: New length of the leases, from now.

        Returns:
            The leases that are still held.
        """
        return self.database.write(leases.renew, held, ttl)

    def unwanted(self, held: Collection[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
        """Those of the given (experiment, pack, token) that should not be trained: paused or cancelled.

        This is for packs that wait for resources. Packs in training learn it from their commits' results.
        """
        return self.database.read(leases.unwanted, held)

    def commit_slice(self, experiment: str, pack: str, token: int, commit: SliceCommit) -> CommitResult:
        """Commit a slice (metrics, summaries, files, progress and ends of runs) as a whole.

        Data of runs that are already terminal are ignored. A run whose cancellation was requested becomes
        CANCELLED, whatever the slice says.

        Raises:
            Fenced: The token is not current, or the slice does not follow the committed step. After a
                `StoreUnavailable` this may mean that the first attempt was committed.
            DatasetChanged: Its dataset differs from that of the experiment's first slice.
            ValueError: The slice contradicts itself or the pack.
            NotFound: There is no such experiment.
        """
        return self._watched("commit", commits.commit_slice, experiment, pack, token, commit)

    def settle(
        self, experiment: str, pack: str, token: int, checkpoint: CheckpointRecord | None = None
    ) -> CommitResult:
        """Commit without a new step: runs that were requested to stop become CANCELLED. Repeatable.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            checkpoint: A checkpoint written meanwhile; its step may be less than the committed one.

        Raises:
            Fenced: The token is not current.
            NotFound: There is no such experiment.
        """
        return self.database.write(commits.settle, experiment, pack, token, checkpoint)

    def end_attempt(
        self, experiment: str, pack: str, token: int, *, failure: Failure | None, retry: bool
    ) -> None:
        """End an attempt before its pack's end. Does nothing if this token's last commit ended the pack.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: The failure, if there was one.
            retry: Whether the pack may be leased again. If not, its unfinished runs are FAILED.

        Raises:
            Fenced: The token is not current.
            ValueError: Runs are left, but neither a retry nor a failure is given.
            NotFound: There is no such experiment.
        """
        self._watched("end", leases.end_attempt, experiment, pack, token, failure, retry)

    def split_pack(self, experiment: str, pack: str, token: int, *, failure: Failure) -> None:
        """End an attempt and its pack; the runs left to train continue in two packs of half the size.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: The failure of the attempt.

        Raises:
            Fenced: The token is not current.
            ValueError: Fewer than two runs are left.
            NotFound: There is no such experiment.
        """
        self._watched("end", splitting.split, experiment, pack, token, failure)

    def reap_expired(self) -> int:
        """Make all packs whose lease has expired wait again; return their number."""
        return self.database.write(leases.reap)

    def unswept(self, quiet_seconds: float, limit: int) -> list[EndedPack]:
        """Ended packs whose leftover files have not been removed yet.

        Args:
            quiet_seconds: Only packs whose last attempt ended at least this long ago: a worker that was cut
                off may still write for a while.
            limit: Maximum number of packs.
        """
        if self.database.read(sweeping.any_ahead):
            self.database.write(sweeping.bring_back)
        return self.database.read(sweeping.unswept, quiet_seconds, limit)

    def mark_swept(self, experiment: str, pack: str) -> None:
        """Record that an ended pack's leftover files have been removed. Repeatable. Raises NotFound."""
        self.database.write(sweeping.mark_swept, experiment, pack)
