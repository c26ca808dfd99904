"""The tables. `edits` explains which locks writers take.

Text compares by code point on every database (PostgreSQL would otherwise follow the locale), so that orders
and pages agree. Times are seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ipserver.store.records.networks import AXES
from ipserver.store.shapes import ONE_CORE
from ipserver.store.states import ExperimentState, FailureReason, PackState, RunState, StudyState
from ipserver.store.summary import VALUES

EnumType = TypeVar("EnumType", bound=StrEnum)

Name = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class EnumText(sa.TypeDecorator[EnumType], Generic[EnumType]):
    """A StrEnum stored by its value."""

    impl = Name
    cache_ok = True

    def __init__(self, members: type[EnumType]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Convert to a plain string for the database."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> EnumType | None:
        """Convert from the database to the enum member."""
        return None if value is None else self.members(value)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=options.pop("nullable", False), **options)


def _experiment_column() -> sa.Column[Any]:
    return sa.Column("experiment", Name, sa.ForeignKey("experiments.id"), nullable=False)


def _axes() -> Iterator[sa.Column[Any]]:
    """What kind of network a run or a pack trains."""
    for name, kind in AXES.items():
        yield _column(name, sa.Integer() if kind is int else Name)


def _index(name: str, *columns: Any, where: Any = None) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _deletion() -> Iterator[sa.Column[Any]]:
    """What `transactions.deleting` keeps of a resource: both times are set exactly while it is deleted."""
    yield _column("delete_time", sa.Double(), nullable=True)
    yield _column("purge_time", sa.Double(), nullable=True)
    # Whether it cannot be undeleted any more.
    yield _column("purging", sa.Boolean(), server_default=sa.false())


experiments = sa.Table(
    "experiments",
    metadata,
    _column("id", Name, primary_key=True),
    _column("uid", Name),
    _column("request_id", Name, nullable=True, unique=True),
    _column("request_hash", Name),
    _column("display_name", Name),
    _column("labels", sa.JSON()),
    _column("priority", sa.Integer()),
    _column("spec", sa.LargeBinary()),
    _column("spec_hash", Name),
    _column("steps", sa.Integer()),
    _column("run_memory_bytes", sa.BigInteger()),
    _column("warnings", sa.JSON()),
    _column("state", EnumText(ExperimentState)),
    _column("cancel_requested", sa.Boolean()),
    _column("pause_requested", sa.Boolean(), server_default=sa.false()),
    # Number of the newest event.
    _column("seq", sa.BigInteger()),
    # Runs per state, kept up to date by `edits.Edit`.
    *(_column(state.value.lower(), sa.Integer()) for state in RunState if state is not RunState.PAUSED),
    _column("paused", sa.Integer(), server_default="0"),
    _column("committed_steps", sa.BigInteger()),
    # Digest of the registered file that its runs train on; set by the first commit.
    _column("dataset_sha256", Name, nullable=True),
    _column("mlflow_pending_runs", sa.Integer()),
    # When dispatchers first found that no node can hold the waiting packs; NULL: one can.
    _column("unplaceable_since", sa.Double(), nullable=True),
    # Shape of its packs (`shapes`), number of packs that wait for a worker, and the shape again while packs
    # may be leased: NULL before all are planned and while it is paused. Kept up to date by `edits.Edit`.
    _column("shape", Name, server_default=ONE_CORE),
    _column("waiting", sa.Integer(), server_default="0"),
    _column("queue", Name, nullable=True),
    # The planning lease.
    _column("planned", sa.Boolean()),
    # Number of first runs with a complete plan: those before the newest extension.
    _column("planned_runs", sa.Integer(), server_default="0"),
    _column("planner", Name),
    _column("planner_expires", sa.Double(), nullable=True),
    _column("planner_seconds", sa.Double(), nullable=True),
    _column("create_time", sa.Double()),
    _column("start_time", sa.Double(), nullable=True),
    # Set exactly when the state is terminal.
    _column("end_time", sa.Double(), nullable=True),
    # The project, and the user who asked for it ("": nobody had to say who they are).
    _column("project", Name, server_default="default"),
    _column("owned_by", Name, server_default=""),
    _column("notes", Name, server_default=""),
    # Context of the call that asked for training last, where traces are recorded (`environment.traces`).
    _column("trace", Name, server_default=""),
    *_deletion(),
    # Whether somebody brought it back, so that the rule of its project does not delete it.
    _column("kept", sa.Boolean(), server_default=sa.false()),
)
_index("ix_experiments_newest", experiments.c.create_time, experiments.c.id)
_index("ix_experiments_project", experiments.c.project, experiments.c.create_time, experiments.c.id)
# Most urgent first. Only an index with the same column directions serves this order.
URGENCY = (experiments.c.priority.desc(), experiments.c.create_time, experiments.c.id)
UNPLANNED = sa.and_(~experiments.c.planned, ~experiments.c.pause_requested, experiments.c.end_time.is_(None))
_index("ix_experiments_queue", experiments.c.queue, *URGENCY, where=experiments.c.queue.is_not(None))
_index(
    "ix_experiments_shares",
    experiments.c.project,
    experiments.c.queue,
    *URGENCY,
    where=experiments.c.queue.is_not(None),
)
_index("ix_experiments_urgent", *URGENCY, where=experiments.c.queue.is_not(None))
_index(
    "ix_experiments_unplaceable",
    experiments.c.unplaceable_since,
    experiments.c.queue,
    where=experiments.c.unplaceable_since.is_not(None),
)
_index(
    "ix_experiments_placeable",
    experiments.c.queue,
    experiments.c.unplaceable_since,
    where=experiments.c.queue.is_not(None),
)
_index("ix_experiments_purge", experiments.c.purge_time, where=experiments.c.purge_time.is_not(None))
_index("ix_experiments_unplanned", *URGENCY, where=UNPLANNED)
_index(
    "ix_experiments_forwarding",
    experiments.c.create_time,
    experiments.c.id,
    where=experiments.c.mlflow_pending_runs > 0,
)

# Extensions and retries that were asked for under a request id.
extensions = sa.Table(
    "extensions",
    metadata,
    _column("request_id", Name, primary_key=True),
    _column("request_hash", Name),
    _experiment_column(),
    _column("create_time", sa.Double()),
)

studies = sa.Table(
    "studies",
    metadata,
    _column("id", Name, primary_key=True),
    _column("uid", Name),
    _column("request_id", Name, nullable=True, unique=True),
    _column("request_hash", Name),
    _column("display_name", Name),
    _column("labels", sa.JSON()),
    _column("priority", sa.Integer()),
    _column("spec", sa.LargeBinary()),
    _column("warnings", sa.JSON()),
    _column("state", EnumText(StudyState)),
    _column("cancel_requested", sa.Boolean()),
    # Grows with every change but those of the lease.
    _column("seq", sa.BigInteger()),
    # `records.StudyOutcome`; {} before anything is known.
    _column("outcome", sa.JSON()),
    # The lease of the dispatcher that drives it.
    _column("token", sa.BigInteger()),
    _column("owner", Name),
    _column("expires", sa.Double(), nullable=True),
    _column("lease_seconds", sa.Double(), nullable=True),
    _column("create_time", sa.Double()),
    # Set exactly when the state is terminal.
    _column("end_time", sa.Double(), nullable=True),
    # The project, and the user who asked for it ("": nobody had to say who they are).
    _column("project", Name, server_default="default"),
    _column("owned_by", Name, server_default=""),
    _column("notes", Name, server_default=""),
    *_deletion(),
)
_index("ix_studies_newest", studies.c.create_time, studies.c.id)
_index("ix_studies_project", studies.c.project, studies.c.create_time, studies.c.id)
_index("ix_studies_purge", studies.c.purge_time, where=studies.c.purge_time.is_not(None))
_index("ix_studies_unfinished", studies.c.id, where=studies.c.end_time.is_(None))

# What was purged: names are never used again, since MLflow and people may still know them. The hours that an
# experiment was trained for in the month of its purge go on counting.
purged = sa.Table(
    "purged",
    metadata,
    _column("name", Name, primary_key=True),
    _column("uid", Name),
    _column("project", Name),
    _column("owned_by", Name),
    _column("purge_time", sa.Double()),
    # Shape of its packs, and seconds of its attempts since the first of the month of its purge.
    _column("shape", Name),
    _column("seconds", sa.Double()),
)

study_rounds = sa.Table(
    "study_rounds",
    metadata,
    sa.Column("study", Name, sa.ForeignKey("studies.id"), nullable=False),
    _column("number", sa.Integer()),
    _column("why", Name),
    # Written down before any of them is taken.
    _column("actions", sa.JSON()),
    _column("runs", sa.Integer()),
    # Whether all actions were taken.
    _column("done", sa.Boolean()),
    _column("learned", sa.JSON()),
    _column("create_time", sa.Double()),
    _column("end_time", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("study", "number"),
)

runs = sa.Table(
    "runs",
    metadata,
    _experiment_column(),
    _column("run_index", sa.Integer()),
    _column("parameterization", Name),
    *_axes(),
    _column("base_learning_rate", sa.Double()),
    _column("seed", sa.BigInteger()),
    _column("state", EnumText(RunState)),
    # "" until planned.
    _column("pack", Name),
    _column("committed_steps", sa.Integer()),
    *(
        _column(name, sa.Integer() if kind is int else sa.Double(), nullable=True)
        for name, kind in VALUES.items()
    ),
    _column("calibrated_rates", sa.JSON()),
    _column("failure", sa.JSON(none_as_null=True), nullable=True),
    _column("start_time", sa.Double(), nullable=True),
    _column("end_time", sa.Double(), nullable=True),
    # Data that MLflow holds: the run, segments up to an id, the terminal state.
    _column("mlflow_run_id", Name),
    _column("sent_segment", sa.BigInteger()),
    _column("sent_state", EnumText(RunState), nullable=True),
    # When unsent data was first recorded; NULL: nothing to send.
    _column("due_since", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "run_index"),
    sqlite_with_rowid=False,
)
_index("ix_runs_pack", runs.c.experiment, runs.c.pack)
_index(
    "ix_runs_due",
    runs.c.experiment,
    runs.c.due_since,
    runs.c.run_index,
    where=runs.c.due_since.is_not(None),
)

packs = sa.Table(
    "packs",
    metadata,
    _experiment_column(),
    _column("id", Name),
    _column("runs", sa.Integer()),
    *_axes(),
    _column("steps", sa.Integer()),
    _column("memory_bytes", sa.BigInteger()),
    _column("state", EnumText(PackState)),
    _column("committed_steps", sa.Integer()),
    # The lease. Every lease is an attempt, so the token is also the number of the newest attempt.
    _column("token", sa.BigInteger()),
    _column("owner", Name),
    _column("expires", sa.Double(), nullable=True),
    _column("lease_seconds", sa.Double(), nullable=True),
    # Place of a leased pack: Ray's cluster and the node ("": it waits for a node to be added).
    _column("cluster", Name, server_default=""),
    _column("node", Name, server_default=""),
    # Whether it is marked to make room for a more urgent pack.
    _column("leaving", sa.Boolean(), server_default=sa.false()),
    # When the unreferenced files of a DONE pack were removed.
    _column("swept_time", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "id"),
)
# Shared with the index below: SQLite uses a partial index only for a query with literally the same condition.
UNFINISHED_PACK = packs.c.state != sa.literal(PackState.DONE, packs.c.state.type, literal_execute=True)
_index(
    "ix_packs_unfinished",
    packs.c.experiment,
    packs.c.state,
    packs.c.id,
    where=packs.c.state != PackState.DONE,
)
# Partial index: leased packs by expiry.
_index("ix_packs_expiring", packs.c.expires, where=packs.c.expires.is_not(None))
_index(
    "ix_packs_unswept",
    packs.c.experiment,
    packs.c.id,
    where=sa.and_(packs.c.state == PackState.DONE, packs.c.swept_time.is_(None)),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _experiment_column(),
    _column("pack", Name),
    _column("token", sa.BigInteger()),
    _column("owner", Name),
    _column("first_step", sa.Integer()),
    _column("start_time", sa.Double()),
    _column("end_time", sa.Double(), nullable=True),
    _column("end_reason", EnumText(FailureReason), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "pack", "token"),
)
# A pack has at most one open attempt; the database refuses a second one.
sa.Index(
    "ux_attempts_live",
    attempts.c.experiment,
    attempts.c.pack,
    unique=True,
    sqlite_where=attempts.c.end_time.is_(None),
    postgresql_where=attempts.c.end_time.is_(None),
)
# How long the newest attempts took.
_index("ix_attempts_ended", attempts.c.end_time, where=attempts.c.end_time.is_not(None))

segments = sa.Table(
    "segments",
    metadata,
    _column("id", Serial, primary_key=True, autoincrement=True),
    _experiment_column(),
    _column("pack", Name),
    _column("first_step", sa.Integer()),
    _column("last_step", sa.Integer()),
    _column("data", sa.LargeBinary()),
    sa.UniqueConstraint("experiment", "pack", "first_step"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    _column("id", Serial, primary_key=True, autoincrement=True),
    _experiment_column(),
    _column("pack", Name),
    _column("step", sa.Integer()),
    _column("path", Name),
    _column("size_bytes", sa.BigInteger()),
    _column("sha256", Name),
)
_index("ix_checkpoints_pack", checkpoints.c.experiment, checkpoints.c.pack, checkpoints.c.step)

artifacts = sa.Table(
    "artifacts",
    metadata,
    _experiment_column(),
    _column("run_index", sa.Integer()),
    _column("path", Name),
    _column("location", Name),
    _column("size_bytes", sa.BigInteger()),
    _column("sha256", Name),
    _column("step", sa.Integer()),
    _column("create_time", sa.Double()),
    _column("sent", sa.Boolean()),
    sa.PrimaryKeyConstraint("experiment", "run_index", "path"),
)

events = sa.Table(
    "events",
    metadata,
    _experiment_column(),
    _column("seq", sa.BigInteger()),
    _column("time", sa.Double()),
    _column("kind", Name),
    _column("payload", sa.JSON()),
    sa.PrimaryKeyConstraint("experiment", "seq"),
)

# Singleton leases by name. The row "placement" is never held as a lease: dispatchers lock it during a
# scheduling decision, so that they decide one at a time.
singletons = sa.Table(
    "singletons",
    metadata,
    _column("name", Name, primary_key=True),
    _column("owner", Name),
    _column("expires", sa.Double()),
    _column("seconds", sa.Double(), nullable=True),
)

# One row: the store's identity and its artifact root ("": none recorded yet).
identity = sa.Table(
    "identity",
    metadata,
    _column("id", sa.Integer(), primary_key=True, autoincrement=False),
    _column("uid", Name),
    _column("artifact_root", Name),
)

# Calls to the API that change something or were refused.
audit = sa.Table(
    "audit",
    metadata,
    _column("id", Serial, primary_key=True, autoincrement=True),
    _column("time", sa.Double()),
    # Entries of before may lack the result and its time.
    _column("end_time", sa.Double(), nullable=True),
    _column("code", Name),
    _column("user", Name),
    _column("method", Name),
    _column("resource", Name),
    _column("project", Name),
    _column("peer", Name),
    _column("calls", sa.BigInteger()),
)
_index("ix_audit_time", audit.c.time)
_index("ix_audit_project", audit.c.project, audit.c.id)

# One row: the newest report by a dispatcher.
capacity = sa.Table(
    "capacity",
    metadata,
    _column("id", sa.Integer(), primary_key=True, autoincrement=False),
    _column("report", sa.JSON()),
    _column("time", sa.Double()),
)
