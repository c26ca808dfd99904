"""Page sizes and page tokens.

A token holds the place after which the next page starts and a digest of the request it belongs to.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from ipserver.errors import FieldViolation, InvalidRequest

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 2 * 2**20

Place = list[str | int | float]
M = TypeVar("M", bound=Message)


def page_size(asked: int) -> int:
    """The number of entries of a page.

    Raises:
        InvalidRequest: Not 0 (the default) and not 1 .. 1000.
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


def make_token(place: Place, *request: str) -> str:
    """A token for the page after `place` of the listing that `request` (parent, filter) describes."""
    text = json.dumps([_digest(request), place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, like: Place, *request: str) -> Place | None:
    """The place in a token.

    Args:
        token: As in a request; "": the first page.
        like: A place of the right length and types.
        request: As given to `make_token`.

    Returns:
        The place; None for the first page.

    Raises:
        InvalidRequest: Not a token of this listing.

    >>> read_token(make_token([7], "experiments/a", ""), [0], "experiments/a", "")
    [7]
    """
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        held = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):  # no text, no JSON, or brackets without end
        held = None
    digest, place = held if isinstance(held, list) and len(held) == 2 else ("", None)
    if digest != _digest(request) or not isinstance(place, list) or [*map(type, place)] != [*map(type, like)]:
        raise InvalidRequest(
            [
                FieldViolation(
                    "page_token",
                    "is not a next_page_token of this listing with this filter; leave it out to start anew",
                )
            ]
        )
    return place


def _digest(request: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(request).encode()).hexdigest()[:16]


def fitting(messages: Sequence[M]) -> list[M]:
    """As many of the first messages as one answer should hold, at least one if there are any.

    Clients refuse answers above 4 MiB unless told otherwise, so a page of large messages ends early.
    """
    size = 0
    fitted: list[M] = []
    for message in messages:
        size += message.ByteSize()
        if fitted and size > MAX_PAGE_BYTES:
            break
        fitted.append(message)
    return fitted
