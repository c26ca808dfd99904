"""Deletion, and what was purged."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "purged",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("uid", _NAME, nullable=False),
        sa.Column("project", _NAME, nullable=False),
        sa.Column("owned_by", _NAME, nullable=False),
        sa.Column("purge_time", sa.Double(), nullable=False),
        sa.Column("shape", _NAME, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_purged")),
    )
    op.add_column("experiments", sa.Column("delete_time", sa.Double(), nullable=True))
    op.add_column("experiments", sa.Column("purge_time", sa.Double(), nullable=True))
    op.add_column(
        "experiments", sa.Column("purging", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index(
        "ix_experiments_purge",
        "experiments",
        ["purge_time"],
        sqlite_where=sa.text("purge_time IS NOT NULL"),
        postgresql_where=sa.text("purge_time IS NOT NULL"),
    )
    op.add_column("studies", sa.Column("delete_time", sa.Double(), nullable=True))
    op.add_column("studies", sa.Column("purge_time", sa.Double(), nullable=True))
    op.add_column("studies", sa.Column("purging", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(
        "ix_studies_purge",
        "studies",
        ["purge_time"],
        sqlite_where=sa.text("purge_time IS NOT NULL"),
        postgresql_where=sa.text("purge_time IS NOT NULL"),
    )
