"""Checks tokens of an OpenID Connect provider: JWTs signed with its published keys."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from ipserver.environment.addresses import is_loopback
from ipserver.errors import StoreUnavailable, Unauthenticated

_log = logging.getLogger(__name__)
# Public-key signatures only: with a shared secret, whoever can check tokens can also forge them.
_ALGORITHMS: Final = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
_LEEWAY_SECONDS: Final = 60
# Keys are fetched again after this time, and when a token names an unknown key.
_KEYS_SECONDS: Final = 300.0
_LEAST_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 10.0
_MOST_BYTES: Final = 1 << 20
# A claim that users can choose must not pass for a group, an operator or the service itself
# (`ipserver.store.records.audit`).
_RESERVED: Final = ("group:", "os:")
_LONGEST_USER: Final = 255


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Required claims of tokens, and where to find the provider's keys.

    Attributes:
        issuer: URL of the provider, as in the claim "iss".
        audience: Must be among the claim "aud".
        jwks: URL of its keys; "" takes it from the discovery document.
        user_claim: Claim with the user's name.
        groups_claim: Claim with the names of the user's groups; "" if none.
    """

    issuer: str
    audience: str
    jwks: str = ""
    user_claim: str = "sub"
    groups_claim: str = ""


class Oidc:
    """Checks tokens of a provider. Thread-safe.

    Args:
        settings: Required claims.
        fetch: Returns the JSON at a URL.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        settings: OidcSettings,
        fetch: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._fetch = fetch or _fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._fetched = float("-inf")

    def principals(self, token: str) -> tuple[str, tuple[str, ...]]:
        """The user, and all principals of the user. Blocks.

        Raises:
            Unauthenticated: The token is invalid; the message says why.
            StoreUnavailable: The provider's keys cannot be fetched, and none are cached.
        """
        try:
            claims = self._claims(token)
        except (JoseError, ValueError) as error:
            raise Unauthenticated(f"the token is refused: {error}") from None
        user = claims.get(self._settings.user_claim)
        if not isinstance(user, str) or not user:
            raise Unauthenticated(
                f"the token has no claim {self._settings.user_claim!r}, which names its user"
            )
        if not _is_name(user):
            raise Unauthenticated(
                f"the claim {self._settings.user_claim!r} of the token is no user name: a name has at most "
                f"{_LONGEST_USER} printable characters, no spaces, and no {' or '.join(_RESERVED)} in front"
            )
        if self._settings.user_claim == "email" and claims.get("email_verified") is not True:
            raise Unauthenticated("the provider has not verified the user's address (claim email_verified)")
        groups = claims.get(self._settings.groups_claim, []) if self._settings.groups_claim else []
        named = [group for group in groups if isinstance(group, str)] if isinstance(groups, list) else []
        return user, (user, *(f"group:{group}" for group in named))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            decoded = jwt.decode(token, self._key_set(_KEYS_SECONDS), algorithms=_ALGORITHMS)
        except InvalidKeyIdError:  # the provider may have new keys
            decoded = jwt.decode(token, self._key_set(_LEAST_SECONDS), algorithms=_ALGORITHMS)
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.audience},
            exp={"essential": True},
        )
        registry.validate(decoded.claims)
        return dict(decoded.claims)

    def _key_set(self, seconds: float) -> KeySet:
        """The provider's keys, fetched at most `seconds` ago. If fetching fails, cached keys stay in use."""
        keys, fresh = self._keys, self._clock() - self._fetched <= seconds
        # While one thread fetches, others use the cached keys.
        if keys is not None and (fresh or not self._lock.acquire(blocking=False)):
            return keys
        if keys is None:
            self._lock.acquire()
        try:
            if self._keys is None or self._keys is keys:
                self._keys = self._fetched_keys()
            return self._keys
        finally:
            self._lock.release()

    def _fetched_keys(self) -> KeySet:
        try:
            return KeySet.import_key_set(self._fetch(self._keys_url()))
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            if self._keys is None:
                raise StoreUnavailable(
                    f"the keys of {self._settings.issuer} cannot be fetched: {error}"
                ) from None
            _log.warning("the keys of %s cannot be fetched: %s", self._settings.issuer, error)
            return self._keys
        finally:
            self._fetched = self._clock()

    def _keys_url(self) -> str:
        if self._settings.jwks:
            return self._settings.jwks
        document = self._fetch(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if document["issuer"] != self._settings.issuer:
            raise ValueError(f"its discovery document is that of {document['issuer']!r}")
        return str(document["jwks_uri"])


def _is_name(user: str) -> bool:
    return (
        len(user) <= _LONGEST_USER
        and user.isprintable()
        and " " not in user
        and not user.startswith(_RESERVED)
    )


def _fetch(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError(f"{url} is not https")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the scheme is checked
        return json.loads(answer.read(_MOST_BYTES))
