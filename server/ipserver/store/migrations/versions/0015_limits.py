"""The error of limits of infinite width in summaries."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("final_limit_error", sa.Double(), nullable=True))
