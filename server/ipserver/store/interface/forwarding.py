"""Methods for the forwarder."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ipserver.store.interface.base import Transactions
from ipserver.store.records.forwarding import Forwarded, ForwardTask
from ipserver.store.transactions import forwarding, singletons


class Forwarding(Transactions):
    """Methods for the forwarder."""

    def acquire_lease(self, name: str, owner: str, ttl: float) -> bool:
        """Take or renew the singleton lease `name`; return False if another owner holds it."""
        return self.database.write(singletons.acquire_lease, name, owner, ttl)

    def release_lease(self, name: str, owner: str) -> None:
        """Release the lease `name` if `owner` holds it."""
        self.database.write(singletons.release_lease, name, owner)

    def forward_tasks(
        self,
        limit: int,
        *,
        after: str = "",
        exclude: Collection[tuple[str, int]] = (),
        exclude_experiments: Collection[str] = (),
        interval: float = 0.0,
    ) -> list[ForwardTask]:
        """Runs with data that MLflow does not hold yet.

        A few experiments share the tasks evenly. Within each, the runs that have waited longest come first.
        The cost does not grow with the number of waiting runs or experiments.

        Args:
            limit: Maximum number of tasks.
            after: Start with the experiment whose id follows this one; those up to it come last.
            exclude: Runs to leave out, as (experiment, index).
            exclude_experiments: Experiments to leave out.
            interval: Leave out a training run that is in MLflow until its oldest unsent data has waited for
                this many seconds.
        """
        return self.database.read(
            forwarding.tasks, limit, after, exclude, frozenset(exclude_experiments), interval
        )

    def mark_forwarded(self, sent: Sequence[Forwarded]) -> list[Forwarded]:
        """Record what MLflow holds, in one transaction. Repeatable; marks never go back.

        The first recorded MLflow id of a run is kept; later ones are refused. For a run that is to be sent
        again (`resend`), data sent before that do not count.

        Args:
            sent: Each run at most once. Runs of purged experiments are ignored.

        Returns:
            Those for which another MLflow id is recorded already; nothing was recorded for them.

        Raises:
            NotFound: An experiment has no such run.
        """
        return self._watched("mark", forwarding.mark, sent)

    def resend(self) -> int:
        """Discard all records of what MLflow holds, so that everything is sent again. Repeatable.

        Uses one transaction per experiment.

        Returns:
            Number of runs that had been sent at least in part.
        """
        experiments = self.database.read(forwarding.known_experiments)
        return sum(self.database.write(forwarding.resend, experiment) for experiment in experiments)
