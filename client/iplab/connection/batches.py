"""Reads many resources by few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from iplab.errors import TooExpensiveError

T = TypeVar("T")


def in_batches(names: Sequence[str], most: int, read: Callable[[Sequence[str]], Sequence[T]]) -> Iterator[T]:
    """The resources with these names, in their order.

    Args:
        names: Any number.
        most: Maximum number of names per request; halved if the answer would be too large.
        read: Makes one request.

    >>> list(in_batches(["a", "b", "c"], 2, lambda some: [name * 2 for name in some]))
    ['aa', 'bb', 'cc']
    """
    for start in range(0, len(names), most):
        some = names[start : start + most]
        try:
            found = read(some)
        except TooExpensiveError:
            if len(some) == 1:
                raise
            yield from in_batches(some, (len(some) + 1) // 2, read)
        else:
            yield from found
