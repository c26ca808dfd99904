"""Drafts of migrations."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ipserver.store.drafting import draft
from ipserver.store.schema import newest_revision
from ipserver.store.tables import metadata


def test_a_new_column_is_drafted(tmp_path: Path) -> None:
    tables = sa.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(tables)
    tables.tables["runs"].append_column(sa.Column("mood", sa.Double(), nullable=True))

    file = draft("Runs have a mood", tmp_path, tables)

    number = f"{int(newest_revision()) + 1:04d}"
    assert file == tmp_path / f"{number}_runs_have_a_mood.py"
    # `make migration` formats it.
    assert file.read_text().replace("'", '"').splitlines() == [
        '"""Runs have a mood."""',
        "",
        "import sqlalchemy as sa",
        "from alembic import op",
        "",
        f'revision = "{number}"',
        f'down_revision = "{newest_revision()}"',
        "branch_labels = None",
        "depends_on = None",
        "",
        "",
        "def upgrade() -> None:",
        '    op.add_column("runs", sa.Column("mood", sa.Double(), nullable=True))',
    ]


def test_without_a_change_there_is_nothing_to_draft(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already"):
        draft("Nothing", tmp_path)
    assert not list(tmp_path.iterdir())
