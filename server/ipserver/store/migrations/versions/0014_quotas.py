"""Limits of projects and users, and shares of projects in the queue."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("project", _NAME, nullable=False),
        sa.Column("user", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project", "user", "name", name=op.f("pk_quotas")),
    )
    op.create_index(
        "ix_experiments_shares",
        "experiments",
        ["project", "queue", sa.text("priority DESC"), "create_time", "id"],
        sqlite_where=sa.text("queue IS NOT NULL"),
        postgresql_where=sa.text("queue IS NOT NULL"),
    )
