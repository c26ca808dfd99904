"""Runs."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.states import RunState
from ipserver.store.summary import VALUES
from ipserver.store.tables.columns import (
    EnumText,
    Name,
    axes,
    column,
    experiment_column,
    index,
    metadata,
)

runs = sa.Table(
    "runs",
    metadata,
    experiment_column(),
    column("run_index", sa.Integer()),
    column("parameterization", Name),
    *axes(),
    column("base_learning_rate", sa.Double()),
    column("seed", sa.BigInteger()),
    column("state", EnumText(RunState)),
    # "" until planned.
    column("pack", Name),
    column("committed_steps", sa.Integer()),
    *(
        column(name, sa.Integer() if kind is int else sa.Double(), nullable=True)
        for name, kind in VALUES.items()
    ),
    column("calibrated_rates", sa.JSON()),
    column("failure", sa.JSON(none_as_null=True), nullable=True),
    column("start_time", sa.Double(), nullable=True),
    column("end_time", sa.Double(), nullable=True),
    # Data that MLflow holds: the run, segments up to an id, the terminal state.
    column("mlflow_run_id", Name),
    column("sent_segment", sa.BigInteger()),
    column("sent_state", EnumText(RunState), nullable=True),
    # When unsent data was first recorded; NULL: nothing to send.
    column("due_since", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "run_index"),
    sqlite_with_rowid=False,
)
index("ix_runs_pack", runs.c.experiment, runs.c.pack)
index(
    "ix_runs_due",
    runs.c.experiment,
    runs.c.due_since,
    runs.c.run_index,
    where=runs.c.due_since.is_not(None),
)
