"""Listings, for programs with an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class AsyncListing(AsyncIterator[Item], Generic[Item]):
    """The items of a listing, fetched by page while it is iterated. It can be iterated once.

    Args:
        what: Description of the items and their order: "experiments, newest first".
        items: Generator that reads the items.
    """

    def __init__(self, what: str, items: AsyncGenerator[Item, None]) -> None:
        self._what, self._items = what, items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._items.aclose()

    def __repr__(self) -> str:
        return (
            f"<AsyncListing of {self._what}: `async for one in ...` reads it, "
            "[one async for one in ...] reads all>"
        )
