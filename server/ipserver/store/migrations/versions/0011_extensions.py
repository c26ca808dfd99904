"""Experiments can be extended."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("experiments", sa.Column("planned_runs", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "extensions",
        sa.Column("request_id", _NAME, nullable=False),
        sa.Column("request_hash", _NAME, nullable=False),
        sa.Column("experiment", _NAME, nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name=op.f("fk_extensions_experiments")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_extensions")),
    )
