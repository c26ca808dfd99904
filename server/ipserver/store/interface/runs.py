"""Methods on runs, their metrics and files, for the API."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ipserver.store.interface.base import Transactions
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.filters import ALL, Filter, Order
from ipserver.store.records.runs import AttemptRecord, RunRecord
from ipserver.store.records.slices import SegmentRecord
from ipserver.store.transactions import grouping, runs
from ipserver.store.transactions.ordering import Value

SEGMENTS_AT_ONCE = 16


class Runs(Transactions):
    """Methods on runs, their metrics and files, for the API."""

    def get_run(self, experiment: str, index: int) -> RunRecord:
        """One run. Raises NotFound."""
        return self.database.read(runs.get, experiment, index)

    def get_runs(self, experiment: str, indices: Sequence[int]) -> list[RunRecord]:
        """Several runs, in the order of their indices. Raises NotFound."""
        return self.database.read(runs.get_several, experiment, indices)

    def list_runs(
        self,
        experiment: str,
        where: Filter = ALL,
        *,
        limit: int,
        after: int = -1,
        order: Sequence[Order] = (),
        place: Sequence[Value] = (),
    ) -> list[RunRecord]:
        """Runs by index, or in another order.

        Args:
            experiment: The experiment's id.
            where: Condition on state, index, parameterization, hidden_layers, width, activation,
                base_learning_rate, seed, committed_steps, pack, start_time, end_time (seconds since 1970),
                and the values of `Summary`. A comparison with a value that the run does not have is false.
            limit: Maximum number of records.
            after: Only runs with a greater index, if `order` is empty.
            order: Keys, most significant first; equal runs are ordered by index.
            place: Only runs after the run with these values of the keys and this index; (): all.

        Raises:
            NotFound: There is no such experiment.
            ValueError: A condition or an order uses another field.
        """
        if order:
            return self.database.read(runs.ordered, experiment, where, limit, order, place)
        return self.database.read(runs.listing, experiment, where, limit, after)

    def run_indices(self, experiment: str, where: Filter) -> frozenset[int]:
        """Indices of the runs that `list_runs` would return. Raises as `list_runs`."""
        return self.database.read(runs.indices, experiment, where)

    def run_groups(
        self,
        experiment: str,
        by: Sequence[str],
        columns: Sequence[str],
        where: Filter = ALL,
        *,
        limit: int,
        start: int = 0,
    ) -> list[list[tuple[Any, ...]]]:
        """Fields of runs in groups that agree in other fields. Reads only runs of these groups.

        Args:
            experiment: The experiment's id.
            by: Fields that define the groups; at least one.
            columns: Fields to return, including those of `by`; named as in conditions of `list_runs`.
            where: Condition, as in `list_runs`.
            limit: Maximum number of groups.
            start: Number of groups to skip.

        Returns:
            The runs of each group by index. Groups are in the order of their first runs; if `by` includes the
            parameterization, groups of one parameterization follow each other.

        Raises:
            NotFound: There is no such experiment.
            ValueError: There is no such field.
        """
        return self.database.read(grouping.groups, experiment, by, columns, where, limit, start)

    def has_value(self, experiment: str, column: str, where: Filter = ALL) -> bool:
        """Whether any of the runs has a value of this field. Arguments and errors as for `run_groups`."""
        return self.database.read(grouping.has_value, experiment, column, where)

    def cancel_run(self, experiment: str, index: int) -> RunRecord:
        """Request one run to stop; a queued run is cancelled now. Repeatable. Raises NotFound."""
        return self.database.write(runs.cancel, experiment, index)

    def attempts(self, experiment: str, index: int) -> list[AttemptRecord]:
        """The attempts at a run, oldest first. Raises NotFound."""
        return self.database.read(runs.list_attempts, experiment, index)

    def segments(
        self,
        experiment: str,
        *,
        packs: Collection[str] | None,
        first_step: int,
        last_step: int | None,
        after: int = 0,
    ) -> Iterator[SegmentRecord]:
        """Metric segments by pack and first step, read in small transactions.

        Args:
            experiment: The experiment's id.
            packs: Only these packs and the packs that they were split from (`split_pack`); None: all.
            first_step: Segments that may hold points of this step or later.
            last_step: Segments that may hold points of this step or earlier; None: no limit.
            after: Only segments with a greater id, that is, committed later.

        Raises:
            NotFound: There is no such experiment.
        """
        steps = first_step, last_step
        place: tuple[str, int] | None = None
        while True:
            batch = self.database.read(
                runs.list_segments, experiment, packs, steps, after, place, SEGMENTS_AT_ONCE
            )
            yield from batch
            if len(batch) < SEGMENTS_AT_ONCE:
                return
            place = (batch[-1].pack, batch[-1].first_step)

    def artifacts(self, experiment: str, index: int) -> list[ArtifactRecord]:
        """The files of a run by path. Raises NotFound if there is no such run."""
        return self.database.read(runs.list_artifacts, experiment, index)

    def get_artifact(self, experiment: str, index: int, path: str) -> ArtifactRecord:
        """One file of a run. Raises NotFound."""
        return self.database.read(runs.get_artifact, experiment, index, path)
