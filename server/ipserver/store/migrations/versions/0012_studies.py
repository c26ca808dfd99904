"""Studies and their rounds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("uid", _NAME, nullable=False),
        sa.Column("request_id", _NAME, nullable=True),
        sa.Column("request_hash", _NAME, nullable=False),
        sa.Column("display_name", _NAME, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", _NAME, nullable=False),
        sa.Column("expires", sa.Double(), nullable=True),
        sa.Column("lease_seconds", sa.Double(), nullable=True),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("end_time", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("request_id", name=op.f("uq_studies_request_id")),
    )
    op.create_index("ix_studies_newest", "studies", ["create_time", "id"])
    op.create_index(
        "ix_studies_unfinished",
        "studies",
        ["id"],
        sqlite_where=sa.text("end_time IS NULL"),
        postgresql_where=sa.text("end_time IS NULL"),
    )
    op.create_table(
        "study_rounds",
        sa.Column("study", _NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("why", _NAME, nullable=False),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("learned", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("end_time", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["study"], ["studies.id"], name=op.f("fk_study_rounds_studies")),
        sa.PrimaryKeyConstraint("study", "number", name=op.f("pk_study_rounds")),
    )
