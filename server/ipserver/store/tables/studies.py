"""Studies and their rounds."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.states import StudyState
from ipserver.store.tables.columns import (
    EnumText,
    Name,
    column,
    deletion,
    index,
    metadata,
    submitted,
)

studies = sa.Table(
    "studies",
    metadata,
    *submitted(),
    column("state", EnumText(StudyState)),
    column("cancel_requested", sa.Boolean()),
    # Increases with every change except those of the lease.
    column("seq", sa.BigInteger()),
    # `records.StudyOutcome`; {} before anything is known.
    column("outcome", sa.JSON()),
    # The lease of the dispatcher that drives it.
    column("token", sa.BigInteger()),
    column("owner", Name),
    column("expires", sa.Double(), nullable=True),
    column("lease_seconds", sa.Double(), nullable=True),
    column("create_time", sa.Double()),
    # Set if and only if the state is terminal.
    column("end_time", sa.Double(), nullable=True),
    *deletion(),
)
index("ix_studies_newest", studies.c.create_time, studies.c.id)
index("ix_studies_project", studies.c.project, studies.c.create_time, studies.c.id)
index("ix_studies_purge", studies.c.purge_time, where=studies.c.purge_time.is_not(None))
index("ix_studies_unfinished", studies.c.id, where=studies.c.end_time.is_(None))

study_rounds = sa.Table(
    "study_rounds",
    metadata,
    sa.Column("study", Name, sa.ForeignKey("studies.id"), nullable=False),
    column("number", sa.Integer()),
    column("why", Name),
    # Recorded before any of them is taken.
    column("actions", sa.JSON()),
    column("runs", sa.Integer()),
    # Whether all actions were taken.
    column("done", sa.Boolean()),
    column("learned", sa.JSON()),
    column("create_time", sa.Double()),
    column("end_time", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("study", "number"),
)
