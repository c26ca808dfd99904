"""Pagination of listings, shared by the sync and the async client."""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

PAGE: Final = 1000


class ListRequest(Protocol):
    """A request of a listing, as AIP-158 has it."""

    page_size: int
    page_token: str


class Page(Protocol):
    """An answer of a listing."""

    @property
    def next_page_token(self) -> str:
        """Token of the next page; "": this is the last page."""


Asked = TypeVar("Asked", bound=ListRequest)


class Paging(Generic[Asked]):
    """State of a listing that is being read.

    Args:
        request: Its first request; size and token are set here.
        limit: At most so many items; None: all.

    Attributes:
        request: What is asked for next.
        done: Whether nothing is.
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
        """Go on after a page that had so many items."""
        if self._left is not None:
            self._left -= items
        self.request.page_token = page.next_page_token
        self._size()
        self.done = self.done or not page.next_page_token
