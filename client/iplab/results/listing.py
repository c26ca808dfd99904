"""Listings, fetched by page while they are iterated; notebooks show their beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, Self, TypeVar

from iplab.errors import IplabError
from iplab.given import Handle, count_of

Item = TypeVar("Item")

_SHOWN: Final = 20


class Listing(Handle, Iterator[Item], Generic[Item]):
    """The items of a listing, fetched by page while it is iterated. It can be iterated once.

    A notebook shows its first 20 items, which are read separately: the iteration still starts at the first
    item. Its text representation reads nothing.

    Args:
        what: Description of the items and their order: "experiments, newest first".
        read: Reads at most this many items from the first one; None: all.
        table: Converts items to an HTML table.
        limit: Maximum number of items; None: all.
        empty: Returns why there are no items, or "".
    """

    def __init__(
        self,
        what: str,
        read: Callable[[int | None], Iterator[Item]],
        table: Callable[[Sequence[Item]], str],
        limit: int | None = None,
        empty: Callable[[], str] = str,
    ) -> None:
        self._what, self._read, self._table, self._empty = what, read, table, empty
        self._limit = count_of("limit", limit)
        self._items = read(self._limit)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def __repr__(self) -> str:
        return f"<Listing of {self._what}: read while it is iterated; list(...) reads all>"

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        title = self._what[:1].upper() + self._what[1:]
        most = _SHOWN + 1 if self._limit is None else min(self._limit, _SHOWN + 1)
        try:
            found = list(self._read(most))
            why = "" if found else self._empty()
        except IplabError as error:
            return html.titled(title, html.paragraph(str(error)))
        if not found:
            return html.titled(title, html.paragraph(why or "none"))
        more = f"the first {_SHOWN}; iterate, or list(...) reads all" if len(found) > _SHOWN else ""
        return html.titled(title, self._table(found[:_SHOWN]), html.paragraph(more) if more else "")
