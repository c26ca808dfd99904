"""What waits is found by its shape and urgency; leases say on which node of which cluster their packs lie."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.store.shapes import ONE_CORE, shape_of

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    experiments = (
        sa.Column("shape", sa.Text(), server_default=ONE_CORE, nullable=False),
        sa.Column("waiting", sa.Integer(), server_default="0", nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
    )
    packs: tuple[sa.Column[Any], ...] = (
        sa.Column("cluster", sa.Text(), server_default="", nullable=False),
        sa.Column("node", sa.Text(), server_default="", nullable=False),
        sa.Column("leaving", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for table, columns in (("experiments", experiments), ("packs", packs)):
        for column in columns:
            if on_postgresql and isinstance(column.type, sa.Text):
                column.type = sa.Text(collation="C")
            op.add_column(table, column)
    _fill()
    op.drop_index("ix_experiments_unfinished", "experiments")
    urgent: list[str | sa.TextClause] = [sa.text("priority DESC"), "create_time", "id"]
    _index("ix_experiments_queue", ["queue", *urgent], "queue IS NOT NULL")
    _index("ix_experiments_urgent", urgent, "queue IS NOT NULL")
    _index("ix_experiments_unplaceable", ["unplaceable_since", "queue"], "unplaceable_since IS NOT NULL")
    _index("ix_experiments_placeable", ["queue", "unplaceable_since"], "queue IS NOT NULL")
    no = "NOT {}" if on_postgresql else "{} = 0"
    unplanned = [no.format("planned"), no.format("pause_requested"), "end_time IS NULL"]
    _index("ix_experiments_unplanned", urgent, " AND ".join(unplanned))
    op.get_bind().execute(
        sa.text("INSERT INTO singletons (name, owner, expires) VALUES ('placement', '', 0.0)")
    )


def _index(name: str, columns: list[str | sa.TextClause], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "experiments", columns, sqlite_where=condition, postgresql_where=condition)


def _fill() -> None:
    """Shapes are read from the specs of what has not ended; what waits is counted."""
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT id, spec FROM experiments WHERE end_time IS NULL")).all()
    for row in found:
        resources = ExperimentSpec.FromString(row.spec).resources
        amounts = {"cpus": resources.cpus or 1.0, "gpus": resources.gpus, **resources.custom}
        connection.execute(
            sa.text("UPDATE experiments SET shape = :shape WHERE id = :id"),
            {"shape": shape_of(amounts), "id": row.id},
        )
    queued = "(SELECT count(*) FROM packs WHERE experiment = experiments.id AND state = 'QUEUED')"
    connection.execute(sa.text(f"UPDATE experiments SET waiting = {queued} WHERE end_time IS NULL"))  # noqa: S608
    no = "pause_requested" if connection.dialect.name == "postgresql" else "pause_requested = 1"
    connection.execute(sa.text(f"UPDATE experiments SET queue = shape WHERE waiting > 0 AND NOT ({no})"))  # noqa: S608
