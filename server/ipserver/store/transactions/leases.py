"""Leases of packs: which dispatcher trains which pack, under which token, until when.

The token is the number of the lease. A dispatcher with an older token is fenced off: its writes are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipserver.errors import Fenced
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.files import CheckpointRecord
from ipserver.store.records.packs import LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason, PackState, RunState
from ipserver.store.tables import UNFINISHED_PACK, URGENCY, attempts, checkpoints, experiments, packs, runs
from ipserver.store.transactions import clocks
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions.edits import UNFINISHED, Edit, editing
from ipserver.store.transactions.runs import run_record, select_runs
from ipserver.store.transitions import Change

_QUEUED_AT_ONCE = 8


def waiting(transaction: Transaction, limit: int) -> list[ExperimentRecord]:
    """See `Store.waiting`."""
    found = transaction.connection.execute(
        sa.select(experiments).where(experiments.c.queue.is_not(None)).order_by(*URGENCY).limit(limit)
    )
    return [experiment_store.experiment_record(row) for row in found]


def lease(
    transaction: Transaction, experiment: str, owner: str, ttl: float, cluster: str = "", node: str = ""
) -> LeasedPack | None:
    """See `Store.lease_pack`."""
    with editing(transaction, experiment) as edit:
        if edit.pausing or not edit.before.planned:
            return None
        for pack in _queued(edit):
            if edit.change(Change.LEASE, in_pack(pack.id)):
                _start(edit, pack, owner, ttl, cluster, node)
                break
        else:
            edit.close_idle_packs()
            return None
    return _leased(transaction, experiment, pack.id)


def renew(
    transaction: Transaction, held: Collection[tuple[str, str, int]], ttl: float
) -> set[tuple[str, str, int]]:
    """See `Store.renew`."""
    connection = transaction.connection
    key = (packs.c.experiment, packs.c.id, packs.c.token)
    ours = sa.and_(packs.c.state == PackState.LEASED, sa.tuple_(*key).in_(sorted(held)))
    # Sorted, so that renewals of several dispatchers cannot deadlock.
    found = connection.execute(sa.select(*key).where(ours).order_by(*key).with_for_update()).all()
    if found:
        connection.execute(
            sa.update(packs).where(ours).values(expires=transaction.now() + ttl, lease_seconds=ttl)
        )
    return {(row.experiment, row.id, row.token) for row in found}


def unwanted(transaction: Transaction, held: Collection[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    """See `Store.unwanted`."""
    key = (packs.c.experiment, packs.c.id, packs.c.token)
    wanted = sa.exists().where(
        runs.c.experiment == packs.c.experiment, runs.c.pack == packs.c.id, runs.c.state == RunState.RUNNING
    )
    statement = (
        sa.select(*key)
        .join(experiments, experiments.c.id == packs.c.experiment)
        .where(
            packs.c.state == PackState.LEASED,
            sa.tuple_(*key).in_(sorted(held)),
            sa.or_(experiments.c.pause_requested, ~wanted),
        )
    )
    return {(row.experiment, row.id, row.token) for row in transaction.connection.execute(statement)}


def end_attempt(
    transaction: Transaction, experiment: str, name: str, token: int, failure: Failure | None, retry: bool
) -> None:
    """See `Store.end_attempt`."""
    with editing(transaction, experiment) as edit:
        pack = _pack(edit, name)
        if pack.token == token and pack.state is PackState.DONE:
            return
        require_token(pack, token)
        edit.change(Change.STOP, in_pack(name))
        if retry:
            edit.change(Change.GIVE_BACK, in_pack(name))
        elif failure is not None:
            edit.change(Change.FAIL, in_pack(name), failure=asdict(failure))
        elif unfinished(edit, name):
            raise ValueError(f"pack {name!r} has runs left to train: pass retry or a failure")
        finish(edit, pack, None if failure is None else failure.reason)


def reap(transaction: Transaction) -> int:
    """See `Store.reap_expired`."""
    expired = (
        packs.c.state == PackState.LEASED,
        clocks.over(packs.c.expires, packs.c.lease_seconds, transaction.now()),
    )
    found = transaction.connection.execute(
        sa.select(packs.c.experiment).where(*expired).distinct().order_by(packs.c.experiment)
    ).scalars()
    reaped = 0
    for experiment in found.all():
        with editing(transaction, experiment) as edit:
            # Check again under the lock: the lease may have been renewed.
            lost = transaction.connection.execute(
                sa.select(packs)
                .where(packs.c.experiment == experiment, *expired)
                .order_by(packs.c.id)
                .with_for_update()
            ).all()
            for pack in lost:
                edit.change(Change.STOP, in_pack(pack.id))
                edit.change(Change.GIVE_BACK, in_pack(pack.id))
                finish(edit, pack, FailureReason.LEASE_LOST)
            reaped += len(lost)
    return reaped


def in_pack(name: str) -> sa.ColumnElement[bool]:
    """The SQL condition that a run belongs to a pack."""
    return runs.c.pack == name


def require_token(pack: sa.Row[Any], token: int) -> None:
    """Raise Fenced unless `token` is the pack's current lease."""
    if pack.state is not PackState.LEASED or pack.token != token:
        raise Fenced(
            f"pack {pack.id!r} of experiment {pack.experiment!r} is {pack.state} under token {pack.token}, "
            f"not leased under token {token}"
        )


def unfinished(edit: Edit, name: str) -> bool:
    """Whether a pack has runs left to train."""
    statement = sa.select(
        sa.exists().where(runs.c.experiment == edit.experiment, in_pack(name), runs.c.state.in_(UNFINISHED))
    )
    return bool(edit.transaction.connection.execute(statement).scalar_one())


def finish(edit: Edit, pack: sa.Row[Any], reason: FailureReason | None) -> None:
    """Close the current attempt. The pack waits again if it has runs left to train, else it is done."""
    connection = edit.transaction.connection
    connection.execute(
        sa.update(attempts)
        .where(
            attempts.c.experiment == edit.experiment,
            attempts.c.pack == pack.id,
            attempts.c.token == pack.token,
            attempts.c.end_time.is_(None),
        )
        .values(end_time=edit.transaction.now(), end_reason=reason)
    )
    state = PackState.QUEUED if unfinished(edit, pack.id) else PackState.DONE
    free = {"owner": "", "expires": None, "lease_seconds": None, "cluster": "", "node": "", "leaving": False}
    edit.move_packs(PackState.LEASED, state, packs.c.id == pack.id, **free)


def leased_pack(edit: Edit, name: str, token: int) -> sa.Row[Any]:
    """The row of a pack leased under `token`. Raises Fenced if it is not."""
    pack = _pack(edit, name)
    require_token(pack, token)
    return pack


def _queued(edit: Edit) -> Iterator[sa.Row[Any]]:
    """The experiment's waiting packs by id, read lazily: most callers need only the first."""
    statement = (
        sa.select(packs)
        .where(packs.c.experiment == edit.experiment, packs.c.state == PackState.QUEUED, UNFINISHED_PACK)
        .order_by(packs.c.id)
        .limit(_QUEUED_AT_ONCE)
    )
    last = ""
    while page := edit.transaction.connection.execute(statement.where(packs.c.id > last)).all():
        yield from page
        last = page[-1].id


def _pack(edit: Edit, name: str) -> sa.Row[Any]:
    pack = edit.transaction.connection.execute(
        sa.select(packs).where(packs.c.experiment == edit.experiment, packs.c.id == name)
    ).one_or_none()
    if pack is None:
        raise Fenced(f"experiment {edit.experiment!r} has no pack {name!r}")
    return pack


def _start(edit: Edit, pack: sa.Row[Any], owner: str, ttl: float, cluster: str, node: str) -> None:
    connection = edit.transaction.connection
    now = edit.transaction.now()
    token = pack.token + 1
    lease = {"token": token, "owner": owner, "expires": now + ttl, "lease_seconds": ttl}
    edit.move_packs(
        PackState.QUEUED, PackState.LEASED, packs.c.id == pack.id, **lease, cluster=cluster, node=node
    )
    connection.execute(
        sa.insert(attempts).values(
            experiment=edit.experiment,
            pack=pack.id,
            token=token,
            owner=owner,
            first_step=pack.committed_steps,
            start_time=now,
        )
    )
    if edit.before.start_time is None:
        edit.values["start_time"] = now


def _leased(transaction: Transaction, experiment: str, name: str) -> LeasedPack:
    connection = transaction.connection
    this = (packs.c.experiment == experiment, packs.c.id == name)
    pack = connection.execute(sa.select(packs).where(*this)).one()
    # An attempt that started at the pack's current step has committed nothing.
    fruitless = connection.execute(
        sa.select(attempts.c.end_reason, sa.func.count().label("times"))
        .where(
            attempts.c.experiment == experiment,
            attempts.c.pack == name,
            attempts.c.first_step == pack.committed_steps,
            attempts.c.end_reason.is_not(None),
        )
        .group_by(attempts.c.end_reason)
    ).all()
    saved = connection.execute(
        sa.select(checkpoints)
        .where(checkpoints.c.experiment == experiment, checkpoints.c.pack == name)
        .order_by(checkpoints.c.step.desc(), checkpoints.c.id.desc())
    )
    return LeasedPack(
        experiment=experiment_store.get(transaction, experiment),
        id=name,
        state=pack.state,
        token=pack.token,
        attempt=pack.token,
        committed_steps=pack.committed_steps,
        steps=pack.steps,
        memory_bytes=pack.memory_bytes,
        runs=tuple(run_record(row) for row in connection.execute(select_runs(experiment, in_pack(name)))),
        checkpoints=tuple(
            CheckpointRecord(path=row.path, size_bytes=row.size_bytes, sha256=row.sha256, step=row.step)
            for row in saved
        ),
        fruitless={row.end_reason: row.times for row in fruitless},
    )
