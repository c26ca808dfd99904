"""Experiments, and the requests that changed them."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.shapes import ONE_CORE
from ipserver.store.states import ExperimentState, RunState
from ipserver.store.tables.columns import (
    EnumText,
    Name,
    column,
    deletion,
    experiment_column,
    index,
    metadata,
    submitted,
)

experiments = sa.Table(
    "experiments",
    metadata,
    *submitted(),
    column("spec_hash", Name),
    column("steps", sa.Integer()),
    column("run_memory_bytes", sa.BigInteger()),
    column("state", EnumText(ExperimentState)),
    column("cancel_requested", sa.Boolean()),
    column("pause_requested", sa.Boolean(), server_default=sa.false()),
    # Number of the newest event.
    column("seq", sa.BigInteger()),
    # Runs per state, kept up to date by `edits.Edit`.
    *(column(state.value.lower(), sa.Integer()) for state in RunState if state is not RunState.PAUSED),
    column("paused", sa.Integer(), server_default="0"),
    column("committed_steps", sa.BigInteger()),
    # Digest of the registered file that its runs train on; set by the first commit.
    column("dataset_sha256", Name, nullable=True),
    column("mlflow_pending_runs", sa.Integer()),
    # When dispatchers first found that no node can hold the waiting packs; NULL: one can.
    column("unplaceable_since", sa.Double(), nullable=True),
    # Shape of its packs (`shapes`), number of packs that wait for a worker, and the shape again while packs
    # may be leased: NULL before all are planned and while it is paused. Kept up to date by `edits.Edit`.
    column("shape", Name, server_default=ONE_CORE),
    column("waiting", sa.Integer(), server_default="0"),
    column("queue", Name, nullable=True),
    # The planning lease.
    column("planned", sa.Boolean()),
    # Number of first runs with a complete plan: those before the newest extension.
    column("planned_runs", sa.Integer(), server_default="0"),
    column("planner", Name),
    column("planner_expires", sa.Double(), nullable=True),
    column("planner_seconds", sa.Double(), nullable=True),
    column("create_time", sa.Double()),
    column("start_time", sa.Double(), nullable=True),
    # Set if and only if the state is terminal.
    column("end_time", sa.Double(), nullable=True),
    # Trace context of the last call that added or retried runs (`environment.traces`).
    column("trace", Name, server_default=""),
    *deletion(),
    # Whether it was undeleted, which exempts it from its project's retention rule.
    column("kept", sa.Boolean(), server_default=sa.false()),
)
index("ix_experiments_newest", experiments.c.create_time, experiments.c.id)
index("ix_experiments_project", experiments.c.project, experiments.c.create_time, experiments.c.id)
# Most urgent first. Only an index with the same column directions serves this order.
URGENCY = (experiments.c.priority.desc(), experiments.c.create_time, experiments.c.id)
UNPLANNED = sa.and_(~experiments.c.planned, ~experiments.c.pause_requested, experiments.c.end_time.is_(None))
index("ix_experiments_queue", experiments.c.queue, *URGENCY, where=experiments.c.queue.is_not(None))
index(
    "ix_experiments_shares",
    experiments.c.project,
    experiments.c.queue,
    *URGENCY,
    where=experiments.c.queue.is_not(None),
)
index("ix_experiments_urgent", *URGENCY, where=experiments.c.queue.is_not(None))
index(
    "ix_experiments_unplaceable",
    experiments.c.unplaceable_since,
    experiments.c.queue,
    where=experiments.c.unplaceable_since.is_not(None),
)
index(
    "ix_experiments_placeable",
    experiments.c.queue,
    experiments.c.unplaceable_since,
    where=experiments.c.queue.is_not(None),
)
index("ix_experiments_purge", experiments.c.purge_time, where=experiments.c.purge_time.is_not(None))
index("ix_experiments_unplanned", *URGENCY, where=UNPLANNED)
index(
    "ix_experiments_forwarding",
    experiments.c.create_time,
    experiments.c.id,
    where=experiments.c.mlflow_pending_runs > 0,
)

# Extensions and retries with a request id.
extensions = sa.Table(
    "extensions",
    metadata,
    column("request_id", Name, primary_key=True),
    column("request_hash", Name),
    experiment_column(),
    column("create_time", sa.Double()),
)
