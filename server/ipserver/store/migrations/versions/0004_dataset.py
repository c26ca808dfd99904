"""Which numbers an experiment's registered file held when its first steps were committed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    # NULL: not known yet; the next commit of an experiment of before says it.
    op.add_column("experiments", sa.Column("dataset_sha256", NAME, nullable=True))
