"""Changes to one experiment, with exact counters and numbered events.

Every transaction that changes an experiment, its runs or its packs first locks the experiment's row. So an
experiment has one writer at a time: its counters are exact, its events are numbered in commit order, and
writers cannot deadlock. There are two exceptions: the renewal of leases, which changes only their expiry, and
the record of the node on which a pack runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.networks import AXES
from ipserver.store.states import ExperimentState, PackState, RunState, experiment_state
from ipserver.store.tables import events, experiments, packs, runs
from ipserver.store.transactions.missing import no_experiment
from ipserver.store.transitions import Change, moves, require_experiment_move, require_pack_move

UNFINISHED = tuple(state for state in RunState if not state.terminal)


class Edit:
    """The pending changes of one transaction to one experiment.

    Attributes:
        transaction: The transaction.
        experiment: The experiment's id.
        before: The experiment's locked row before the changes.
        values: Further columns to set.
        pending: Change of the number of runs that MLflow does not hold in full.
        waiting: Number of packs that wait for a worker.
        trained: Change of the number of committed updates.
    """

    def __init__(self, transaction: Transaction, before: sa.Row[Any]) -> None:
        self.transaction = transaction
        self.experiment: str = before.id
        self.before = before
        self.values: dict[str, object] = {}
        self.pending = 0
        self.trained = 0
        self.waiting = int(before.waiting)
        self._goes_on = False
        self._counts = {state: int(getattr(before, state.value.lower())) for state in RunState}
        self._events: list[tuple[str, Mapping[str, object]]] = []

    def event(self, kind: str, payload: Mapping[str, object]) -> None:
        """Add an event; it gets its number at the end of the transaction."""
        self._events.append((kind, payload))

    def progress(self, pack: sa.Row[Any] | Mapping[str, Any], committed_steps: int) -> None:
        """Add the event that a pack has reached `committed_steps`."""
        row = pack._mapping if isinstance(pack, sa.Row) else pack
        payload = {key: row[key] for key in (*AXES, "runs", "steps")}
        self.event("pack_progress", {"pack": row["id"], "committed_steps": committed_steps, **payload})

    @property
    def pausing(self) -> bool:
        """Whether the experiment is pausing or paused."""
        return bool(self.values.get("pause_requested", self.before.pause_requested))

    def add(self, number: int, state: RunState) -> None:
        """Count new runs in `state`, none of which MLflow holds."""
        self._goes_on = True
        self._counts[state] += number
        self.pending += number

    def change(self, change: Change, *where: sa.ColumnElement[bool], **values: object) -> frozenset[int]:
        """Apply a change to the runs that fulfil `where`.

        Args:
            change: The change; it defines which states it applies to and which states they become.
            where: Further conditions.
            values: Further columns to set.

        Returns:
            The indices of the runs that moved.
        """
        moved = [
            self._move(before, after, where, dict(values))
            for before, after in moves(change, pausing=self.pausing).items()
        ]
        self._goes_on |= change is Change.RETRY
        return frozenset().union(*moved)

    def _move(
        self,
        before: RunState,
        after: RunState,
        where: Iterable[sa.ColumnElement[bool]],
        values: dict[str, object],
    ) -> tuple[int, ...]:
        now = self.transaction.now()
        since = sa.func.coalesce(runs.c.due_since, now)
        if after is RunState.RUNNING:
            values["start_time"] = sa.func.coalesce(runs.c.start_time, now)
            values["due_since"] = sa.case((runs.c.mlflow_run_id == "", since), else_=runs.c.due_since)
        if after.terminal:
            values |= {"end_time": now, "due_since": since}
        statement = (
            sa.update(runs)
            .where(runs.c.experiment == self.experiment, runs.c.state == before, *where)
            .values(state=after, **values)
            .returning(runs.c.run_index)
        )
        moved = tuple(sorted(self.transaction.connection.execute(statement).scalars()))
        if moved:
            self._counts[before] -= len(moved)
            self._counts[after] += len(moved)
            self.event("runs_state", {"state": after.value, "runs": list(moved)})
        return moved

    def close_idle_packs(self) -> None:
        """End waiting packs that have no runs left to train."""
        left = (
            sa.select(runs.c.run_index)
            .where(
                runs.c.experiment == self.experiment, runs.c.pack == packs.c.id, runs.c.state.in_(UNFINISHED)
            )
            .exists()
        )
        self.move_packs(PackState.QUEUED, PackState.DONE, ~left)

    def move_packs(
        self, before: PackState, after: PackState, *where: sa.ColumnElement[bool], **values: object
    ) -> None:
        """Move the packs in state `before` that fulfil `where`.

        Raises:
            ForbiddenMove: Packs cannot go from `before` to the new state.
        """
        require_pack_move(before, after)
        moved = self.transaction.connection.execute(
            sa.update(packs)
            .where(packs.c.experiment == self.experiment, packs.c.state == before, *where)
            .values(state=after, **values)
        ).rowcount
        self.waiting += moved * ((after is PackState.QUEUED) - (before is PackState.QUEUED))

    def _queue(self) -> None:
        """Update the columns that say whether packs may be leased and what they ask for."""
        ready = self.waiting > 0 and self.values.get("planned", self.before.planned) and not self.pausing
        queue = self.before.shape if ready else None
        changed = {"waiting": self.waiting, "queue": queue}
        self.values |= {name: value for name, value in changed.items() if value != getattr(self.before, name)}

    def save(self) -> None:
        """Write counters, the experiment's state and the events.

        Raises:
            ForbiddenMove: The experiment would leave a terminal state or stop being cancelled.
        """
        cancelling = bool(self.values.get("cancel_requested", self.before.cancel_requested))
        state = experiment_state(self._counts, cancelling=cancelling, pausing=self.pausing)
        if state is not self.before.state:
            require_experiment_move(self.before.state, state, goes_on=self._goes_on)
            self.values["state"] = state
            self.event("experiment_state", {"state": state.value})
            if state.terminal or self.before.state.terminal:
                self.values["end_time"] = self.transaction.now() if state.terminal else None
        self._queue()
        if not (self.values or self._events or self.pending or self.trained):
            return
        seq = self.transaction.connection.execute(
            sa.update(experiments)
            .where(experiments.c.id == self.experiment)
            .values(
                seq=experiments.c.seq + len(self._events),
                committed_steps=experiments.c.committed_steps + self.trained,
                mlflow_pending_runs=experiments.c.mlflow_pending_runs + self.pending,
                **{state.value.lower(): count for state, count in self._counts.items()},
                **self.values,
            )
            .returning(experiments.c.seq)
        ).scalar_one()
        insert_events(self.transaction, self.experiment, seq - len(self._events) + 1, self._events)


@contextmanager
def editing(transaction: Transaction, experiment: str) -> Iterator[Edit]:
    """Lock an experiment for changes and save them at the end, unless an error ends the block.

    Raises:
        NotFound: There is no such experiment.
    """
    row = transaction.connection.execute(
        sa.select(experiments).where(experiments.c.id == experiment).with_for_update()
    ).one_or_none()
    if row is None:
        raise no_experiment(transaction, experiment)
    edit = Edit(transaction, row)
    yield edit
    edit.save()


def insert_events(
    transaction: Transaction, experiment: str, first: int, new: Iterable[tuple[str, Mapping[str, object]]]
) -> None:
    """Write events with the numbers `first`, `first + 1`, ..."""
    rows = [
        {"experiment": experiment, "seq": seq, "time": transaction.now(), "kind": kind, "payload": payload}
        for seq, (kind, payload) in enumerate(new, start=first)
    ]
    transaction.insert_many(events, rows)


def created_event() -> tuple[str, Mapping[str, object]]:
    """The first event of every experiment."""
    return "experiment_state", {"state": ExperimentState.QUEUED.value}
