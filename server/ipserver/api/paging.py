"""Page sizes and page tokens.

A token holds the place after which the next page starts, and a signature over this place and the request.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from ipserver.errors import FieldViolation, InvalidRequest, TooExpensive

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 2 * 2**20
_SIGNATURE_BYTES: Final = 16

# Strings, numbers and null, as in JSON.
Place = list[Any]
M = TypeVar("M", bound=Message)


def page_size(asked: int) -> int:
    """The number of entries of a page.

    Raises:
        InvalidRequest: The size is neither 0 (the default) nor in 1 .. 1000.
    """
    if not 0 <= asked <= MAX_PAGE_SIZE:
        raise InvalidRequest(
            [
                FieldViolation(
                    "page_size", f"must lie in 1 .. {MAX_PAGE_SIZE} (0: {DEFAULT_PAGE_SIZE}), not {asked}"
                )
            ]
        )
    return asked or DEFAULT_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class PageTokens:
    """Makes and reads page tokens, which are signed so that callers cannot invent places.

    Attributes:
        key: Secret key; the same in all API processes of a store.
    """

    key: bytes

    def make(self, place: Place, *request: str) -> str:
        """A token for the page after `place` of the listing that `request` (parent, filter) describes."""
        body = json.dumps(place, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(body, request) + body).decode().rstrip("=")

    def read(self, token: str, *request: str) -> Place | None:
        """The place in a token; None for "", the first page.

        Args:
            token: Token of a request.
            request: As for `make`.

        Raises:
            InvalidRequest: The token does not belong to this listing.

        >>> tokens = PageTokens(b"key")
        >>> tokens.read(tokens.make([7], "experiments/a", ""), "experiments/a", "")
        [7]
        """
        if not token:
            return None
        try:
            padded = token + "=" * (-len(token) % 4)
            held = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:  # not ASCII, or not base64
            held = b""
        signature, body = held[:_SIGNATURE_BYTES], held[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(body, request)):
            raise InvalidRequest(
                [
                    FieldViolation(
                        "page_token",
                        "is not a next_page_token of this listing with this filter and order; leave it out "
                        "to start anew",
                    )
                ]
            )
        place: Place = json.loads(body)
        return place

    def _signature(self, body: bytes, request: tuple[str, ...]) -> bytes:
        scope = json.dumps(request).encode()
        return hmac.digest(self.key, len(scope).to_bytes(4) + scope + body, "sha256")[:_SIGNATURE_BYTES]


def whole(messages: Iterable[M]) -> list[M]:
    """All messages of an answer without pages. A single message may have any size.

    Raises:
        TooExpensive: The messages are too large for one answer.
    """
    size = 0
    kept: list[M] = []
    for message in messages:
        size += message.ByteSize()
        if kept and size > MAX_PAGE_BYTES:
            raise TooExpensive(
                f"the answer would have more than {MAX_PAGE_BYTES:,} bytes; ask for fewer at once, such as "
                f"the first {len(kept)}"
            )
        kept.append(message)
    return kept


def fitting(messages: Sequence[M]) -> list[M]:
    """The first messages, as many as fit into one answer, but at least one if there are any.

    By default clients refuse answers above 4 MiB, so a page of large messages ends early.
    """
    size = 0
    fitted: list[M] = []
    for message in messages:
        size += message.ByteSize()
        if fitted and size > MAX_PAGE_BYTES:
            break
        fitted.append(message)
    return fitted
