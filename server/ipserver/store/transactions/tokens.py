"""Bearer tokens of users.

A token is "iplab_", its id, "_" and a secret of 256 random bits. The store holds the secret's SHA-256. A
slower hash would add nothing, because a random secret of this length cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ipserver.errors import NotFound
from ipserver.store.database import Transaction
from ipserver.store.tables import tokens

PREFIX: Final = "iplab_"
_FORM: Final = re.compile(PREFIX + r"([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
# Seconds between recorded uses of a token.
_USE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, without its secret.

    Attributes:
        id: Public part.
        user: Its user.
        note: Its purpose, as text.
        expire_time: When it expires.
        last_use_time: When it was last used, to the minute; None if never.
        revoke_time: When it was revoked; None if it was not.
        now: When the record was read.
    """

    id: str
    user: str
    note: str
    create_time: float
    expire_time: float
    last_use_time: float | None
    revoke_time: float | None
    now: float

    @property
    def state(self) -> str:
        """State of the token: "active", "expired" or "revoked"."""
        if self.revoke_time is not None:
            return "revoked"
        return "expired" if self.expire_time <= self.now else "active"


def create(transaction: Transaction, user: str, seconds: float, note: str = "") -> str:
    """Create a user's token that expires after `seconds`; return it. It cannot be read again."""
    name, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), transaction.now()
    transaction.connection.execute(
        sa.insert(tokens).values(
            id=name,
            secret_sha256=_digest(secret),
            user=user,
            note=note,
            create_time=now,
            expire_time=now + seconds,
        )
    )
    return f"{PREFIX}{name}_{secret}"


def verify(transaction: Transaction, token: str) -> TokenRecord | None:
    """The record of a token, which may be expired or revoked; None if the store does not know it."""
    found = _FORM.fullmatch(token)
    if found is None:
        return None
    row = transaction.connection.execute(sa.select(tokens).where(tokens.c.id == found[1])).one_or_none()
    if row is None or not hmac.compare_digest(row.secret_sha256, _digest(found[2])):
        return None
    return _record(row, transaction.now())


def used(transaction: Transaction, token: str) -> None:
    """Record the use of the token with this id, at most once a minute."""
    now = transaction.now()
    transaction.connection.execute(
        sa.update(tokens)
        .where(tokens.c.id == token, sa.func.coalesce(tokens.c.last_use_time, 0.0) < now - _USE_SECONDS)
        .values(last_use_time=now)
    )


def listing(transaction: Transaction) -> list[TokenRecord]:
    """All tokens, by user, oldest first."""
    now = transaction.now()
    rows = transaction.connection.execute(
        sa.select(tokens).order_by(tokens.c.user, tokens.c.create_time, tokens.c.id)
    )
    return [_record(row, now) for row in rows]


def revoke(transaction: Transaction, token: str) -> TokenRecord:
    """Revoke the token with this id permanently. Repeatable. Raises NotFound."""
    now = transaction.now()
    transaction.connection.execute(
        sa.update(tokens)
        .where(tokens.c.id == token)
        .values(revoke_time=sa.func.coalesce(tokens.c.revoke_time, now))
    )
    row = transaction.connection.execute(sa.select(tokens).where(tokens.c.id == token)).one_or_none()
    if row is None:
        raise NotFound(f"there is no token {token!r}; `ipserver token list` shows the ids")
    return _record(row, now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: sa.Row[Any], now: float) -> TokenRecord:
    values = {key: value for key, value in row._mapping.items() if key != "secret_sha256"}
    return TokenRecord(**values, now=now)
