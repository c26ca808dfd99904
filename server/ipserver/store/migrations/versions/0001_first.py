"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "capacity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_capacity"),
    )
    op.create_table(
        "experiments",
        sa.Column("id", NAME, nullable=False),
        sa.Column("uid", NAME, nullable=False),
        sa.Column("request_id", NAME, nullable=True),
        sa.Column("request_hash", NAME, nullable=False),
        sa.Column("display_name", NAME, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("spec_hash", NAME, nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("run_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("queued", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("cancelling", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("diverged", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("committed_steps", sa.BigInteger(), nullable=False),
        sa.Column("mlflow_pending_runs", sa.Integer(), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("planner", NAME, nullable=False),
        sa.Column("planner_expires", sa.Double(), nullable=True),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("start_time", sa.Double(), nullable=True),
        sa.Column("end_time", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("request_id", name="uq_experiments_request_id"),
    )
    op.create_index(
        "ix_experiments_forwarding",
        "experiments",
        ["create_time", "id"],
        sqlite_where=sa.text("mlflow_pending_runs > 0"),
        postgresql_where=sa.text("mlflow_pending_runs > 0"),
    )
    op.create_index("ix_experiments_newest", "experiments", ["create_time", "id"])
    op.create_index(
        "ix_experiments_unfinished",
        "experiments",
        ["priority", "create_time"],
        sqlite_where=sa.text("end_time IS NULL"),
        postgresql_where=sa.text("end_time IS NULL"),
    )
    op.create_table(
        "singletons",
        sa.Column("name", NAME, nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_singletons"),
    )
    op.create_table(
        "artifacts",
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("run_index", sa.Integer(), nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("location", NAME, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_artifacts_experiments"),
        sa.PrimaryKeyConstraint("experiment", "run_index", "path", name="pk_artifacts"),
    )
    op.create_table(
        "attempts",
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("pack", NAME, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("first_step", sa.Integer(), nullable=False),
        sa.Column("start_time", sa.Double(), nullable=False),
        sa.Column("end_time", sa.Double(), nullable=True),
        sa.Column("end_reason", NAME, nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_attempts_experiments"),
        sa.PrimaryKeyConstraint("experiment", "pack", "token", name="pk_attempts"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("pack", NAME, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_checkpoints_experiments"),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
    )
    op.create_index("ix_checkpoints_pack", "checkpoints", ["experiment", "pack", "step"])
    op.create_table(
        "events",
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_events_experiments"),
        sa.PrimaryKeyConstraint("experiment", "seq", name="pk_events"),
    )
    op.create_table(
        "packs",
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("hidden_layers", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("activation", NAME, nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("committed_steps", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("expires", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_packs_experiments"),
        sa.PrimaryKeyConstraint("experiment", "id", name="pk_packs"),
    )
    op.create_index(
        "ix_packs_unfinished",
        "packs",
        ["experiment", "state", "id"],
        sqlite_where=sa.text("state != 'DONE'"),
        postgresql_where=sa.text("state != 'DONE'"),
    )
    op.create_table(
        "runs",
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("run_index", sa.Integer(), nullable=False),
        sa.Column("parameterization", NAME, nullable=False),
        sa.Column("hidden_layers", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("activation", NAME, nullable=False),
        sa.Column("base_learning_rate", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("pack", NAME, nullable=False),
        sa.Column("committed_steps", sa.Integer(), nullable=False),
        sa.Column("last_train_loss", sa.Double(), nullable=True),
        sa.Column("best_test_loss", sa.Double(), nullable=True),
        sa.Column("best_test_accuracy", sa.Double(), nullable=True),
        sa.Column("final_test_loss", sa.Double(), nullable=True),
        sa.Column("final_test_accuracy", sa.Double(), nullable=True),
        sa.Column("diverged_step", sa.Integer(), nullable=True),
        sa.Column("calibrated_rates", sa.JSON(), nullable=False),
        sa.Column("failure", sa.JSON(), nullable=True),
        sa.Column("start_time", sa.Double(), nullable=True),
        sa.Column("end_time", sa.Double(), nullable=True),
        sa.Column("mlflow_run_id", NAME, nullable=False),
        sa.Column("sent_segment", sa.BigInteger(), nullable=False),
        sa.Column("sent_state", NAME, nullable=True),
        sa.Column("due_since", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_runs_experiments"),
        sa.PrimaryKeyConstraint("experiment", "run_index", name="pk_runs"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_runs_due",
        "runs",
        ["experiment", "due_since", "run_index"],
        sqlite_where=sa.text("due_since IS NOT NULL"),
        postgresql_where=sa.text("due_since IS NOT NULL"),
    )
    op.create_index("ix_runs_pack", "runs", ["experiment", "pack"])
    op.create_table(
        "segments",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("pack", NAME, nullable=False),
        sa.Column("first_step", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_segments_experiments"),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.UniqueConstraint(
            "experiment", "pack", "first_step", name="uq_segments_experiment_pack_first_step"
        ),
    )
