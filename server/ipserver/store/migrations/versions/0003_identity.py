"""The store's id and artifact root."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uid", NAME, nullable=False),
        sa.Column("artifact_root", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity"),
    )
