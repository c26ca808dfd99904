"""The store's interface for identity: projects, roles, tokens, limits. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection

from ipserver.store.database import Database
from ipserver.store.records.accounts import Grant, Quota, Role, Use
from ipserver.store.transactions import projects, quotas, tokens
from ipserver.store.transactions.tokens import TokenRecord


class Accounts:
    """Projects, roles and tokens. Thread-safe; any method may raise StoreUnavailable.

    Args:
        database: The store's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_project(self, project: str) -> None:
        """Create a project. Raises AlreadyExists."""
        self._database.write(projects.create, project)

    def projects(self) -> list[str]:
        """Ids of all projects."""
        return self._database.read(projects.listing)

    def grant(self, project: str, principal: str, role: Role) -> None:
        """Grant a principal a role in a project, or in all ("*"). Raises NotFound."""
        self._database.write(projects.grant, project, principal, role)

    def deny(self, project: str, principal: str) -> bool:
        """Revoke a principal's role in a project; return whether it had one."""
        return self._database.write(projects.deny, project, principal)

    def grants(self) -> list[Grant]:
        """All grants of roles."""
        return self._database.read(projects.all_grants)

    def roles(self, principals: Collection[str]) -> dict[str, Role]:
        """The highest role of any of these principals, by project; "*" stands for all projects."""
        return self._database.read(projects.roles, principals)

    def project_of_experiment(self, experiment: str) -> str | None:
        """The project of an experiment; None if there is no such experiment."""
        return self._database.read(projects.project_of_experiment, experiment)

    def project_of_study(self, study: str) -> str | None:
        """The project of a study; None if there is no such study."""
        return self._database.read(projects.project_of_study, study)

    def create_token(self, user: str, seconds: float, note: str = "") -> str:
        """Create a token that expires after this many seconds. It cannot be read again."""
        return self._database.write(tokens.create, user, seconds, note)

    def verify_token(self, token: str) -> TokenRecord | None:
        """The record of a token; None if the store does not know it."""
        return self._database.read(tokens.verify, token)

    def token_used(self, token: str) -> None:
        """Record the use of the token with this id."""
        self._database.write(tokens.used, token)

    def tokens(self) -> list[TokenRecord]:
        """All tokens."""
        return self._database.read(tokens.listing)

    def revoke_token(self, token: str) -> TokenRecord:
        """Revoke the token with this id. Repeatable. Raises NotFound."""
        return self._database.write(tokens.revoke, token)

    def set_quota(self, project: str, user: str, name: str, value: float | None) -> None:
        """Set a limit (`Quota`), or remove it (None). Raises NotFound."""
        self._database.write(quotas.set_quota, project, user, name, value)

    def quotas(self) -> list[Quota]:
        """All limits that were set."""
        return self._database.read(quotas.listing)

    def uses(self, project: str, user: str) -> list[Use]:
        """The limits that apply to a user in a project, with their use."""
        return self._database.read(quotas.uses, project, user)
