"""`ipserver token`, `ipserver project`, `ipserver quota`: tokens, roles and limits of users.

They write to the store, so they work on the machine of any part, with its settings. A running service follows
within 30 seconds. The audit log records their changes, under the user of the operating system.
"""

from __future__ import annotations

import getpass
import json
import math
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from iplab.display.commands import Choice, CommandGroup
from iplab.display.terminal import echo, shown_on
from ipserver.cli.app import options, with_settings
from ipserver.environment.settings import Settings
from ipserver.errors import ServiceError, StartupError
from ipserver.names import ID_RULE, is_experiment_id
from ipserver.store.records.accounts import EACH, EVERY, KINDS, Role

if TYPE_CHECKING:
    from ipserver.store import Store
    from ipserver.store.interface.accounts import Accounts

_USER: Final = re.compile(r"(group:)?[A-Za-z0-9][A-Za-z0-9._@|:+-]{0,127}")
_DAY: Final = 86_400.0
_ROLES: Final = [role.name.lower() for role in Role]
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _kinds() -> str:
    return "Limits: " + "; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items()) + "."


@click.group("token", cls=CommandGroup)
@options
def token_group(**_: Any) -> None:
    """Bearer tokens of users: create, list, revoke."""


@token_group.command("create")
@click.argument("user")
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), default=90.0, show_default=True)
@click.option("--note", default="", help="Purpose of the token, such as the machine.")
@with_settings
def token_create(settings: Settings, *, user: str, days: float, note: str) -> None:
    """Create a token for USER and print it. It cannot be shown again.

    The user needs a role: `ipserver project grant`.
    """
    _require_user(user)
    if user.startswith("group:"):
        raise StartupError(f"{user!r} is a group; a token stands for one user")
    with _changing(settings, "token create", f"users/{user}") as accounts:
        echo(accounts.create_token(user, days * _DAY, note[:200]))


@token_group.command("list")
@_JSON
@with_settings
def token_list(settings: Settings, *, as_json: bool) -> None:
    """List all tokens with their last use, without their secrets."""
    records = _accounts(settings).tokens()
    if as_json:
        echo(json.dumps([asdict(one) | {"state": one.state} for one in records], indent=2))
        return
    rows = (
        (one.id, one.user, one.state, _day(one.expire_time), _minute(one.last_use_time), one.note)
        for one in records
    )
    _print_table(("id", "user", "state", "expires", "last use", "note"), rows)


@token_group.command("revoke")
@click.argument("token")
@with_settings
def token_revoke(settings: Settings, *, token: str) -> None:
    """Revoke the token with the id TOKEN. It takes effect within a minute, also for open watches."""
    with _changing(settings, "token revoke", f"tokens/{token}") as accounts:
        record = accounts.revoke_token(token)
    echo(f"token {record.id} of {record.user} is revoked")


@click.group("project", cls=CommandGroup)
@options
def project_group(**_: Any) -> None:
    """Projects, and roles in them: create, list, grant, deny."""


@project_group.command("create")
@click.argument("project")
@with_settings
def project_create(settings: Settings, *, project: str) -> None:
    """Create the project PROJECT."""
    if not is_experiment_id(project):
        raise StartupError(f"{project!r} is not an id: {ID_RULE}")
    with _changing(settings, "project create", f"projects/{project}") as accounts:
        accounts.create_project(project)
    said = f"project {project} exists; `ipserver project grant {project} USER ROLE` gives users access"
    echo(shown_on(sys.stdout, said))


@project_group.command("list")
@_JSON
@with_settings
def project_list(settings: Settings, *, as_json: bool) -> None:
    """List the projects and the roles of users in them."""
    accounts = _accounts(settings)
    grants = accounts.grants()
    if as_json:
        listed = [
            {"project": one.project, "principal": one.principal, "role": one.role.name.lower()}
            for one in grants
        ]
        echo(json.dumps({"projects": accounts.projects(), "grants": listed}, indent=2))
        return
    rows = [(one.project, one.principal, one.role.name.lower()) for one in grants]
    rows += [(name, "", "") for name in accounts.projects() if name not in {row[0] for row in rows}]
    _print_table(("project", "user", "role"), sorted(rows))


@project_group.command("grant")
@click.argument("project")
@click.argument("user")
@click.argument("role", type=Choice(_ROLES))
@with_settings
def project_grant(settings: Settings, *, project: str, user: str, role: str) -> None:
    """Give USER the ROLE in PROJECT ("*": in every project).

    USER is the user of a token of this service or of a provider's token, or group:NAME.
    """
    _require_user(user)
    with _changing(settings, f"project grant {role}", f"projects/{project}/users/{user}") as accounts:
        accounts.grant(project, user, Role[role.upper()])
    where = "every project" if project == EVERY else f"project {project}"
    echo(f"{user} is {role} in {where}")


@project_group.command("deny")
@click.argument("project")
@click.argument("user")
@with_settings
def project_deny(settings: Settings, *, project: str, user: str) -> None:
    """Revoke the role of USER in PROJECT. It takes effect within a minute, also for open watches."""
    with _changing(settings, "project deny", f"projects/{project}/users/{user}") as accounts:
        had = accounts.deny(project, user)
    if not had:
        raise StartupError(f"{user} has no role in {project}; `ipserver project list` shows all")
    echo(f"{user} no longer has a role in {project}")


@click.group("quota", cls=CommandGroup)
@options
def quota_group(**_: Any) -> None:
    """Limits of projects and users: set, list."""


@quota_group.command("set", epilog=_kinds())
@click.argument("project")
@click.argument("name", type=Choice(list(KINDS)), metavar="NAME")
@click.argument("value")
@click.option("--user", default="", help='A user of the project; "*": each of them. [default: all together]')
@with_settings
def quota_set(settings: Settings, *, project: str, name: str, value: str, user: str) -> None:
    """Set the limit NAME of PROJECT ("*": of each project) to VALUE, or remove it ("none").

    Existing use above a new limit stays; nothing more is accepted until it is below the limit.
    """
    if user and user != EACH:
        _require_user(user)
    amount = _amount(value)
    subject = f"projects/{project}" + (f"/users/{user}" if user else "")
    with _changing(settings, f"quota set {name} {value}", subject) as accounts:
        accounts.set_quota(project, user, name, amount)
    whose = f"project {project}" + (f", user {user}" if user else "")
    echo(f"{whose}: {name} {value}")


@quota_group.command("list")
@_JSON
@with_settings
def quota_list(settings: Settings, *, as_json: bool) -> None:
    """List the limits that were set; `iplab quota` shows their use."""
    found = _accounts(settings).quotas()
    if as_json:
        echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    rows = ((one.project, one.user or "(all)", one.name, f"{one.value:,.10g}") for one in found)
    _print_table(("project", "user", "limit", "at most"), rows)


def _amount(text: str) -> float | None:
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StartupError(f"{text!r} is not a limit; write a number, or none to remove the limit")
    return value


@contextmanager
def _changing(settings: Settings, command: str, resource: str) -> Iterator[Accounts]:
    """Context of a change, with an audit entry that names the user and the command."""
    from ipserver.api.status import status_code  # noqa: PLC0415 - commands load what they need
    from ipserver.store.companion import accompanied  # noqa: PLC0415
    from ipserver.store.records.audit import AuditedCall  # noqa: PLC0415

    store = _store(settings)
    call = AuditedCall(f"os:{getpass.getuser()}", f"ipserver {command}", resource, "", socket.gethostname())
    entry = store.entry_of(call, settings.audit_seconds)
    try:
        with accompanied(entry):
            yield store.accounts
    except ServiceError as error:
        entry.finish(status_code(error).name)
        raise


def _accounts(settings: Settings) -> Accounts:
    return _store(settings).accounts


def _store(settings: Settings) -> Store:
    from ipserver.ops.startup import explained, sqlite_file  # noqa: PLC0415 - commands load what they need
    from ipserver.store import check_schema, open_store  # noqa: PLC0415

    sqlite_file(settings)
    store = open_store(settings.store_dsn)
    explained(lambda: check_schema(store))
    return store


def _require_user(user: str) -> None:
    if not _USER.fullmatch(user):
        raise StartupError(
            f"{user!r} is not a user: up to 128 letters, digits and . _ @ | : + -, or group: and such a name"
        )


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _minute(time: float | None) -> str:
    return "never" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [head, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
