"""Expired leases and a pack's runs are found by index, whatever else is stored."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Table, index, "rows, rows with the same first column, with the same first two, ...". A table without row ids
# is the index of its primary key.
_STATISTICS = (
    ("runs", "runs", "100000 5000 1"),
    ("runs", "ix_runs_pack", "100000 5000 20"),
    ("packs", "sqlite_autoindex_packs_1", "5000 250 1"),
    ("packs", "ix_packs_expiring", "20 1"),
)


def upgrade() -> None:
    leased = sa.text("expires IS NOT NULL")
    op.create_index("ix_packs_expiring", "packs", ["expires"], sqlite_where=leased, postgresql_where=leased)
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return  # it keeps statistics by itself
    # Without statistics SQLite takes every experiment for one of ten runs, and reads all of them where the
    # runs of one pack are wanted. These are typical ones, so that plans do not change while a store is used.
    connection.exec_driver_sql("ANALYZE runs")
    connection.exec_driver_sql("DELETE FROM sqlite_stat1 WHERE tbl IN ('runs', 'packs')")
    connection.exec_driver_sql(
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", list(_STATISTICS)
    )
    connection.exec_driver_sql("ANALYZE sqlite_master")  # reads them again
