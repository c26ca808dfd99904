"""The fenced commit of a slice: all of it under the current token, or nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipserver.errors import DatasetChanged, Fenced
from ipserver.store.database import Transaction
from ipserver.store.records.files import CheckpointRecord, NewArtifact
from ipserver.store.records.slices import CommitResult, SliceCommit
from ipserver.store.states import RunState
from ipserver.store.summary import VALUES, Summary
from ipserver.store.tables import artifacts, checkpoints, packs, runs, segments
from ipserver.store.transactions.edits import Edit, editing
from ipserver.store.transactions.leases import finish, in_pack, leased_pack
from ipserver.store.transitions import Change

CHECKPOINTS_KEPT = 2


def commit_slice(
    transaction: Transaction, experiment: str, name: str, token: int, commit: SliceCommit
) -> CommitResult:
    """See `Store.commit_slice`."""
    with editing(transaction, experiment) as edit:
        pack = leased_pack(edit, name, token)
        _require_data(edit, commit)
        trained = _trained(pack, commit)
        members = transaction.connection.execute(
            sa.select(runs).where(runs.c.experiment == experiment, in_pack(name))
        ).all()
        live = {row.run_index: row for row in members if not row.state.terminal}
        if trained:
            _advance(edit, pack, commit)
        _update_runs(edit, live, commit, trained)
        _insert_artifacts(edit, live, commit.artifacts)
        obsolete = _insert_checkpoint(edit, name, commit.checkpoint)
        ended = {row.run_index for row in members if row.state.terminal} | _end_runs(edit, name, commit)
        done = len(ended) == len(members)
        if commit.finished and not done:
            left = sorted({row.run_index for row in members} - ended)
            raise ValueError(f"pack {name!r} is said to be finished, but its runs {left[:10]} have not ended")
        if done:
            finish(edit, pack, None)
    return CommitResult(frozenset(ended), done=done, pausing=edit.pausing, obsolete_checkpoints=obsolete)


def settle(
    transaction: Transaction, experiment: str, name: str, token: int, checkpoint: CheckpointRecord | None
) -> CommitResult:
    """See `Store.settle`."""
    with editing(transaction, experiment) as edit:
        pack = leased_pack(edit, name, token)
        edit.change(Change.STOP, in_pack(name))
        obsolete = _insert_checkpoint(edit, name, checkpoint)
        members = transaction.connection.execute(
            sa.select(runs.c.run_index, runs.c.state).where(runs.c.experiment == experiment, in_pack(name))
        ).all()
        ended = frozenset(row.run_index for row in members if row.state.terminal)
        done = len(ended) == len(members)
        if done:
            finish(edit, pack, None)
    return CommitResult(ended, done=done, pausing=edit.pausing, obsolete_checkpoints=obsolete)


def _require_data(edit: Edit, commit: SliceCommit) -> None:
    """Require the dataset digest of the experiment's first commit; record it if this is the first."""
    known, found = edit.before.dataset_sha256, commit.dataset_sha256
    if found is not None and known is None:
        edit.values["dataset_sha256"] = found
    elif found is not None and found != known:
        raise DatasetChanged(
            f"the registered file has changed: its numbers had SHA-256 {known} when the first steps were "
            f"committed, and now have {found}"
        )


def _trained(pack: sa.Row[Any], commit: SliceCommit) -> bool:
    """Whether the slice holds updates beyond the committed ones; Fenced if it is not the next slice."""
    if commit.finished and commit.last_step <= pack.committed_steps and not commit.segment:
        return False
    if commit.first_step != pack.committed_steps + 1:
        raise Fenced(
            f"pack {pack.id!r} of experiment {pack.experiment!r} has committed step {pack.committed_steps}; "
            f"a slice from step {commit.first_step} does not follow"
        )
    if not commit.first_step <= commit.last_step <= pack.steps:
        raise ValueError(
            f"a slice of pack {pack.id!r} from step {commit.first_step} must end there or later and by step "
            f"{pack.steps}, not at {commit.last_step}"
        )
    return True


def _advance(edit: Edit, pack: sa.Row[Any], commit: SliceCommit) -> None:
    connection = edit.transaction.connection
    if commit.segment:
        connection.execute(
            sa.insert(segments).values(
                experiment=edit.experiment,
                pack=pack.id,
                first_step=commit.first_step,
                last_step=commit.last_step,
                data=commit.segment,
            )
        )
    connection.execute(
        sa.update(packs)
        .where(packs.c.experiment == edit.experiment, packs.c.id == pack.id)
        .values(committed_steps=commit.last_step)
    )
    edit.progress(pack, commit.last_step)


def _update_runs(edit: Edit, live: Mapping[int, sa.Row[Any]], commit: SliceCommit, trained: bool) -> None:
    """Update progress, summaries and calibrated rates of the runs that are not terminal."""
    news = {artifact.run_index for artifact in commit.artifacts}
    now = edit.transaction.now()
    changes: list[dict[str, Any]] = []
    for index, row in live.items():
        summary = _summary(commit.summaries[index]) if index in commit.summaries else _stored_summary(row)
        reached = row.committed_steps
        if trained:
            diverged = summary["diverged_step"]
            reached = commit.last_step if diverged is None else max(reached, min(diverged, commit.last_step))
        rates = commit.calibrated_rates.get(index)
        due = bool(commit.segment) or index in news
        edit.trained += reached - row.committed_steps
        changes.append(
            {
                "this": index,
                "committed_steps": reached,
                "calibrated_rates": row.calibrated_rates if rates is None else list(rates),
                "due_since": now if due and row.due_since is None else row.due_since,
                **summary,
            }
        )
    if changes:
        statement = sa.update(runs).where(
            runs.c.experiment == edit.experiment, runs.c.run_index == sa.bindparam("this")
        )
        edit.transaction.connection.execute(statement, changes)


def _stored_summary(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in VALUES}


def _summary(summary: Summary) -> dict[str, Any]:
    # Store NaN as no value: the databases compare NaN differently.
    values = {name: getattr(summary, name) for name in VALUES}
    return {name: None if value is None or math.isnan(value) else value for name, value in values.items()}


def _insert_artifacts(edit: Edit, live: Mapping[int, object], new: tuple[NewArtifact, ...]) -> None:
    """Insert files of runs that are not terminal; a file replaces an older one with the same path."""
    now = edit.transaction.now()
    rows = [
        {**asdict(artifact), "experiment": edit.experiment, "create_time": now, "sent": False}
        for artifact in new
        if artifact.run_index in live
    ]
    if rows:
        same = sa.tuple_(artifacts.c.run_index, artifacts.c.path).in_(
            [(row["run_index"], row["path"]) for row in rows]
        )
        edit.transaction.connection.execute(
            sa.delete(artifacts).where(artifacts.c.experiment == edit.experiment, same)
        )
        edit.transaction.insert_many(artifacts, rows)


def _insert_checkpoint(edit: Edit, name: str, new: CheckpointRecord | None) -> tuple[str, ...]:
    """Keep the checkpoints written last; return the paths of those dropped.

    Last means by time, not by step. A checkpoint written while steps are repeated is valid, whereas an
    earlier checkpoint of a later step was found invalid.
    """
    if new is None:
        return ()
    connection = edit.transaction.connection
    this = (checkpoints.c.experiment == edit.experiment, checkpoints.c.pack == name)
    connection.execute(sa.insert(checkpoints).values(experiment=edit.experiment, pack=name, **asdict(new)))
    rows = connection.execute(
        sa.select(checkpoints.c.id, checkpoints.c.path).where(*this).order_by(checkpoints.c.id.desc())
    ).all()
    kept = {row.path for row in rows[:CHECKPOINTS_KEPT]}
    old = rows[CHECKPOINTS_KEPT:]
    if old:
        connection.execute(sa.delete(checkpoints).where(checkpoints.c.id.in_([row.id for row in old])))
    return tuple(row.path for row in old if row.path not in kept)


def _end_runs(edit: Edit, name: str, commit: SliceCommit) -> frozenset[int]:
    """End the runs that end with this slice. A run whose cancellation was requested ends CANCELLED."""
    ended = edit.change(Change.STOP, in_pack(name))
    for state, change in ((RunState.SUCCEEDED, Change.SUCCEED), (RunState.DIVERGED, Change.DIVERGE)):
        chosen = [index for index, end in commit.ended.items() if end is state]
        if chosen:
            ended |= edit.change(change, in_pack(name), runs.c.run_index.in_(chosen))
    return ended
