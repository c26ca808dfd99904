"""Of which ended packs the leftover files have been removed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: not yet; packs of before are swept once too.
    op.add_column("packs", sa.Column("swept_time", sa.Double(), nullable=True))
    unswept = sa.text("state = 'DONE' AND swept_time IS NULL")
    op.create_index(
        "ix_packs_unswept", "packs", ["experiment", "id"], sqlite_where=unswept, postgresql_where=unswept
    )
