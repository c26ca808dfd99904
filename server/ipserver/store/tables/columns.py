"""Types and columns that several tables have, and the metadata that all of them belong to."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ipserver.store.records.networks import AXES

EnumType = TypeVar("EnumType", bound=StrEnum)

Name = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class EnumText(sa.TypeDecorator[EnumType], Generic[EnumType]):
    """A StrEnum stored by its value."""

    impl = Name
    cache_ok = True

    def __init__(self, members: type[EnumType]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Convert to a plain string for the database."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> EnumType | None:
        """Convert from the database to the enum member."""
        return None if value is None else self.members(value)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    """A column that holds NULL only if `nullable` says so."""
    return sa.Column(name, kind, nullable=options.pop("nullable", False), **options)


def experiment_column() -> sa.Column[Any]:
    """The experiment that a row belongs to."""
    return sa.Column("experiment", Name, sa.ForeignKey("experiments.id"), nullable=False)


def axes() -> Iterator[sa.Column[Any]]:
    """Columns of the axes that define the network of a run or a pack."""
    for name, kind in AXES.items():
        yield column(name, sa.Integer() if kind is int else Name)


def index(name: str, *columns: Any, where: Any = None) -> sa.Index:
    """An index of the table of its columns; with `where`, only of rows for which the condition holds."""
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


def deletion() -> Iterator[sa.Column[Any]]:
    """Columns of deletion (`transactions.deleting`). Both times are set if and only if it is deleted."""
    yield column("delete_time", sa.Double(), nullable=True)
    yield column("purge_time", sa.Double(), nullable=True)
    # Whether it is being purged and can no longer be undeleted.
    yield column("purging", sa.Boolean(), server_default=sa.false())


def submitted() -> Iterator[sa.Column[Any]]:
    """Columns that experiments and studies take from their requests."""
    yield column("id", Name, primary_key=True)
    yield column("uid", Name)
    yield column("request_id", Name, nullable=True, unique=True)
    yield column("request_hash", Name)
    yield column("display_name", Name)
    yield column("labels", sa.JSON())
    yield column("priority", sa.Integer())
    yield column("spec", sa.LargeBinary())
    yield column("warnings", sa.JSON())
    # The project, and the submitting user ("" without authentication).
    yield column("project", Name, server_default="default")
    yield column("owned_by", Name, server_default="")
    yield column("notes", Name, server_default="")
