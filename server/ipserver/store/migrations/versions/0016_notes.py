"""Experiments have notes."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "experiments",
        sa.Column(
            "notes",
            sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
    )
