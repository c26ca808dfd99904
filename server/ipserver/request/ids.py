"""Ids of new experiments and studies: as asked for, or generated until one is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ipserver.errors import AlreadyExists, RequestIdReused

_ATTEMPTS: Final = 5

T = TypeVar("T")


def under_free_id(create: Callable[[], T], given: str, kind: str) -> T:
    """What a store creates, under the id given or under a generated one that is free.

    Args:
        create: Creates it under the id given, or under another one at each call.
        given: The id that was asked for; "": none.
        kind: What is created, in the singular.

    Raises:
        AlreadyExists: The id is taken.
        RequestIdReused: The request id was used with another request.
    """
    for _ in range(_ATTEMPTS):
        try:
            return create()
        except RequestIdReused:
            raise
        except AlreadyExists:
            if given:
                raise
    raise AlreadyExists(f"no free {kind} id was found; give one as {kind}_id")
