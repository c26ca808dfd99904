"""Ids of new experiments and studies: as asked for, or generated until one is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ipserver.errors import AlreadyExists, RequestIdReused

_ATTEMPTS: Final = 5

T = TypeVar("T")


def under_free_id(create: Callable[[], T], given: str, kind: str) -> T:
    """Call `create` under the given id, or until a generated id is free; return its result.

    Args:
        create: Creates the resource under the given id, or under a new generated id at each call.
        given: The requested id; "" if none.
        kind: The kind of resource, in the singular, for messages.

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
