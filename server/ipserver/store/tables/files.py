"""Products of training: segments of metrics, checkpoints, artifacts."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.tables.columns import (
    Name,
    Serial,
    column,
    experiment_column,
    index,
    metadata,
)

segments = sa.Table(
    "segments",
    metadata,
    column("id", Serial, primary_key=True, autoincrement=True),
    experiment_column(),
    column("pack", Name),
    column("first_step", sa.Integer()),
    column("last_step", sa.Integer()),
    column("data", sa.LargeBinary()),
    sa.UniqueConstraint("experiment", "pack", "first_step"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    column("id", Serial, primary_key=True, autoincrement=True),
    experiment_column(),
    column("pack", Name),
    column("step", sa.Integer()),
    column("path", Name),
    column("size_bytes", sa.BigInteger()),
    column("sha256", Name),
)
index("ix_checkpoints_pack", checkpoints.c.experiment, checkpoints.c.pack, checkpoints.c.step)

artifacts = sa.Table(
    "artifacts",
    metadata,
    experiment_column(),
    column("run_index", sa.Integer()),
    column("path", Name),
    column("location", Name),
    column("size_bytes", sa.BigInteger()),
    column("sha256", Name),
    column("step", sa.Integer()),
    column("create_time", sa.Double()),
    column("sent", sa.Boolean()),
    sa.PrimaryKeyConstraint("experiment", "run_index", "path"),
)
