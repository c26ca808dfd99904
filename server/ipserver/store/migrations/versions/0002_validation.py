"""Runs know their best validation and the test metrics there."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL is the truth for runs of before: they had no validation set.
    for name in ("best_validation_loss", "best_validation_accuracy"):
        op.add_column("runs", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("best_validation_step", sa.Integer(), nullable=True))
    for name in ("test_loss_at_best_validation", "test_accuracy_at_best_validation"):
        op.add_column("runs", sa.Column(name, sa.Double(), nullable=True))
