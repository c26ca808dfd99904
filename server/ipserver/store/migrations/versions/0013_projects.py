"""Projects, roles in them, and tokens of users. What exists belongs to the project "default"."""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.bulk_insert(projects, [{"id": "default", "create_time": time.time()}])
    op.create_table(
        "grants",
        sa.Column("project", _NAME, nullable=False),
        sa.Column("principal", _NAME, nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project", "principal", name=op.f("pk_grants")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("secret_sha256", _NAME, nullable=False),
        sa.Column("user", _NAME, nullable=False),
        sa.Column("note", _NAME, nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("expire_time", sa.Double(), nullable=False),
        sa.Column("last_use_time", sa.Double(), nullable=True),
        sa.Column("revoke_time", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    for table in ("experiments", "studies"):
        op.add_column(table, sa.Column("project", _NAME, server_default="default", nullable=False))
        op.add_column(table, sa.Column("owned_by", _NAME, server_default="", nullable=False))
        op.create_index(f"ix_{table}_project", table, ["project", "create_time", "id"])
