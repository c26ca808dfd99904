"""Projects, and roles of principals in them.

A principal is a user's name, or "group:" followed by a group's name from an identity provider. A role in the
project "*" applies to all present and future projects.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from ipserver.errors import AlreadyExists, FieldViolation, InvalidRequest, NotFound
from ipserver.store.database import Transaction
from ipserver.store.records.accounts import EVERY, Grant, Role
from ipserver.store.tables import experiments, grants, projects, studies


def create(transaction: Transaction, project: str) -> None:
    """Create a project. Raises AlreadyExists."""
    if exists(transaction, project):
        raise AlreadyExists(f"there is a project {project!r} already")
    transaction.connection.execute(sa.insert(projects).values(id=project, create_time=transaction.now()))


def listing(transaction: Transaction) -> list[str]:
    """Ids of all projects, sorted."""
    return list(transaction.connection.execute(sa.select(projects.c.id).order_by(projects.c.id)).scalars())


def exists(transaction: Transaction, project: str) -> bool:
    """Whether there is such a project."""
    found = transaction.connection.execute(sa.select(projects.c.id).where(projects.c.id == project))
    return found.one_or_none() is not None


_LOCKED: Final = sa.select(projects.c.id).where(projects.c.id == sa.bindparam("project")).with_for_update()


def lock(transaction: Transaction, project: str, field: str) -> None:
    """Lock a project's row until the end of the transaction, so that its limits are checked one at a time.

    Raises:
        InvalidRequest: There is no such project. The violation names `field`.
    """
    found = transaction.connection.execute(_LOCKED, {"project": project})
    if found.one_or_none() is None:
        text = f"there is no project {project!r}; `ipserver project create {project}` makes it"
        raise InvalidRequest([FieldViolation(field, text)])


def grant(transaction: Transaction, project: str, principal: str, role: Role) -> None:
    """Grant a principal a role in a project, replacing its present role. Raises NotFound."""
    if project != EVERY and not exists(transaction, project):
        raise NotFound(f"there is no project {project!r}; `ipserver project create {project}` makes it")
    deny(transaction, project, principal)
    values = {"project": project, "principal": principal, "role": int(role)}
    transaction.connection.execute(sa.insert(grants).values(**values, create_time=transaction.now()))


def deny(transaction: Transaction, project: str, principal: str) -> bool:
    """Revoke a principal's role in a project; return whether it had one."""
    gone = transaction.connection.execute(
        sa.delete(grants).where(grants.c.project == project, grants.c.principal == principal)
    )
    return gone.rowcount > 0


def all_grants(transaction: Transaction) -> list[Grant]:
    """All grants of roles, by project and principal."""
    rows = transaction.connection.execute(sa.select(grants).order_by(grants.c.project, grants.c.principal))
    return [Grant(row.project, row.principal, Role(row.role)) for row in rows]


def roles(transaction: Transaction, principals: Collection[str]) -> dict[str, Role]:
    """The highest role of any of these principals, by project."""
    rows = transaction.connection.execute(
        sa.select(grants.c.project, sa.func.max(grants.c.role).label("role"))
        .where(grants.c.principal.in_(principals))
        .group_by(grants.c.project)
    )
    return {row.project: Role(row.role) for row in rows}


def project_of_experiment(transaction: Transaction, experiment: str) -> str | None:
    """The project of an experiment; None if there is no such experiment."""
    found = sa.select(experiments.c.project).where(experiments.c.id == experiment)
    project: str | None = transaction.connection.execute(found).scalar_one_or_none()
    return project


def project_of_study(transaction: Transaction, study: str) -> str | None:
    """The project of a study; None if there is no such study."""
    found = sa.select(studies.c.project).where(studies.c.id == study)
    project: str | None = transaction.connection.execute(found).scalar_one_or_none()
    return project
