"""Pagination of listings, shared by the sync and the async client."""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

PAGE: Final = 1000


class ListRequest(Protocol):
    """A request of a listing (AIP-158)."""

    page_size: int
    page_token: str


class Page(Protocol):
    """A response of a listing (AIP-158)."""

    @property
    def next_page_token(self) -> str:
        """Token of the next page; "" on the last page."""


Asked = TypeVar("Asked", bound=ListRequest)


class Paging(Generic[Asked]):
    """State of a listing that is being read.

    Args:
        request: The first request; size and token are set here.
        limit: Maximum number of items; None: all.

    Attributes:
        request: The next request.
        done: Whether there is no next request.
    """

    def __init__(self, request: Asked, limit: int | None = None) -> None:
        self.request = request
        self._left = limit
        self._size()

    def _size(self) -> None:
        self.done = self._left is not None and self._left <= 0
        if not self.done:
            self.request.page_size = PAGE if self._left is None else min(self._left, PAGE)

    def turn(self, page: Page, items: int) -> None:
        """Prepare the next request after a page with this number of items."""
        if self._left is not None:
            self._left -= items
        self.request.page_token = page.next_page_token
        self._size()
        self.done = self.done or not page.next_page_token
