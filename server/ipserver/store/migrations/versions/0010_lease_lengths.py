"""A lease knows its own length, so one that a wrong clock has given too far an end is told from others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("planner_seconds", sa.Double(), nullable=True))
    op.add_column("packs", sa.Column("lease_seconds", sa.Double(), nullable=True))
    op.add_column("singletons", sa.Column("seconds", sa.Double(), nullable=True))
