"""Finds the user of a token: tokens of this service, and of an identity provider.

Checking a token costs a query or a signature, which anyone can cause. So tokens that were not valid before
are checked in a few threads of their own, and the same wrong token once in a while. Callers with wrong tokens
are not refused by their address, because behind a proxy they share it with all others.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from ipserver.api.blocking import Blocking
from ipserver.api.caller import ANYONE, Caller
from ipserver.errors import StoreUnavailable, Unauthenticated
from ipserver.store.transactions.tokens import PREFIX

if TYPE_CHECKING:
    from ipserver.store import Store

_log = logging.getLogger(__name__)
# Seconds for which the result of checking a token is cached. Streams check again as often, so revoked tokens
# and roles lose access within twice this time.
TRUST_SECONDS: Final = 15.0
_MOST_KNOWN: Final = 10_000
_SCHEME: Final = "bearer "
Value = TypeVar("Value")


class Provider(Protocol):
    """Checks tokens that this service did not issue."""

    def principals(self, token: str) -> tuple[str, tuple[str, ...]]:
        """The user, and all principals of the user. Raises Unauthenticated. Blocks."""


class Authenticator:
    """Authenticates callers.

    Args:
        store: The store of tokens and roles.
        blocking: Thread pool for calls of the store.
        strangers: Thread pool for tokens that were not valid before.
        required: Whether callers need a token; otherwise everyone may do everything.
        provider: Checks tokens of an identity provider; None if there is none.
        monotonic: Clock, in seconds.
        trust_seconds: How long the result of checking a token is cached.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        strangers: Blocking,
        *,
        required: bool,
        provider: Provider | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        trust_seconds: float = TRUST_SECONDS,
    ) -> None:
        self._accounts = store.accounts
        self._blocking = blocking
        self._strangers = strangers
        self._provider = provider
        self._monotonic = monotonic
        # By digest, with the time of the check: callers, and messages and users of tokens that were refused.
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._wrong: OrderedDict[bytes, tuple[float, str, str]] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()
        self.required = required
        self.trust_seconds = trust_seconds

    async def caller(self, authorization: str) -> Caller:
        """The caller with this value of the header "authorization".

        Raises:
            Unauthenticated: There is no token, or it is unknown, expired or revoked.
            StoreUnavailable: Tokens cannot be checked now.
        """
        if not self.required:
            return ANYONE
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated(
                "this service needs a token: set IPLAB_TOKEN (in Python: iplab.connect(token=...)), or the "
                "header `authorization: Bearer TOKEN`; "
                "its operator makes one by `ipserver token create`"
            )
        token = authorization[len(_SCHEME) :].strip()
        key, now = hashlib.sha256(token.encode()).digest(), self._monotonic()
        known, wrong = self._known.get(key), self._wrong.get(key)
        if known is not None and now - known[0] < self.trust_seconds:
            return known[1]
        if wrong is not None and now - wrong[0] < self.trust_seconds:
            raise Unauthenticated(*wrong[1:])
        try:
            who = await (self._blocking if known else self._strangers).run(self._check, token)
        except Unauthenticated as error:
            self._known.pop(key, None)
            _keep(self._wrong, key, (now, str(error), error.user))
            raise
        _keep(self._known, key, (now, who))
        if token.startswith(PREFIX):
            self._write_use(token)
        return who

    def _check(self, token: str) -> Caller:
        if not token.startswith(PREFIX):
            if self._provider is None:
                raise Unauthenticated("this service did not issue the token, and has no identity provider")
            user, principals = self._provider.principals(token)
            return Caller(user, self._accounts.roles(principals))
        record = self._accounts.verify_token(token)
        if record is None:
            raise Unauthenticated("the token is unknown here; check that it is complete and of this service")
        if record.state != "active":
            raise Unauthenticated(f"the token {record.id} is {record.state}; ask for a new one", record.user)
        # Expiry needs no timer: `_check` runs again after `trust_seconds`.
        return Caller(record.user, self._accounts.roles([record.user]))

    def _write_use(self, token: str) -> None:
        """Record the use of a token in the background; the request does not wait for it."""
        name = token.removeprefix(PREFIX).partition("_")[0]

        async def write() -> None:
            try:
                await self._blocking.run(self._accounts.token_used, name)
            except StoreUnavailable as error:
                _log.warning("the last use of token %s was not recorded: %s", name, error)

        task = asyncio.get_running_loop().create_task(write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _keep(memory: OrderedDict[bytes, Value], key: bytes, value: Value) -> None:
    """Set an entry as the newest; drop the oldest one beyond the largest number."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _MOST_KNOWN:
        memory.popitem(last=False)
