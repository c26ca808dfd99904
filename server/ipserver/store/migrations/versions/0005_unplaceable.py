"""Since when no node can hold an experiment's packs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: not known to be so; a dispatcher that finds it so counts from then on.
    op.add_column("experiments", sa.Column("unplaceable_since", sa.Double(), nullable=True))
