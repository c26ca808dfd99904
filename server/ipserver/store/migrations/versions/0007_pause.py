"""Experiments can pause; a pack has at most one attempt that lives."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "experiments", sa.Column("pause_requested", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("experiments", sa.Column("paused", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "ux_attempts_live",
        "attempts",
        ["experiment", "pack"],
        unique=True,
        sqlite_where=sa.text("end_time IS NULL"),
        postgresql_where=sa.text("end_time IS NULL"),
    )
