"""Experiments that retention rules leave alone, since somebody brought them back."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("kept", sa.Boolean(), server_default=sa.false(), nullable=False))
