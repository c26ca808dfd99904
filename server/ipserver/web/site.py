"""Shared by the handlers of all pages: API calls, templates, figures, pagination."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from iplab.client import Client
from ipserver.web.calls import Calls
from ipserver.web.guard import FIGURE_POLICY
from ipserver.web.pictures import MEDIA, Pictures

if TYPE_CHECKING:
    from starlette.requests import Request

    from ipcore.figures import Picture

Row = TypeVar("Row")
Context = dict[str, object]
Make = Callable[[], Context]
_MOST_PAGES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Leaf(Generic[Row]):
    """One page of a long list.

    Attributes:
        rows: Rows of the page.
        number: Number of the page, from 1.
        first: Number of its first row, from 1.
        more: Whether another page follows.
    """

    rows: tuple[Row, ...]
    number: int
    first: int
    more: bool


class Site:
    """The API's clients, the templates, and the cache of figures."""

    def __init__(self, calls: Calls, templates: Environment, pictures: Pictures) -> None:
        self._calls = calls
        self._templates = templates
        self.pictures = pictures

    def client(self, request: Request) -> Client:
        """A client of the API with the token of a request."""
        return self._calls.client(request)

    def page(
        self,
        request: Request,
        name: str,
        context: Context,
        now: Mapping[str, Make] = MappingProxyType({}),
        later: Mapping[str, Make] = MappingProxyType({}),
    ) -> Response:
        """Render a page, or only one part of it if `?part=` names one.

        Args:
            request: The browser's request.
            name: The page is `templates/NAME.html`, its parts are `templates/parts/NAME_PART.html`.
            context: Values for the page and all its parts.
            now: Functions that return the values of parts that the page includes, by part.
            later: The same for parts that take long. The page's script requests them, or `?whole=1` includes
                them.

        Raises:
            HTTPException: 404 if the page has no such part.
        """
        part = request.query_params.get("part", "")
        whole = "whole" in request.query_params
        parts = {**now, **later}
        if part and part not in parts:
            raise HTTPException(404, f"this page has no part {part!r}")
        if part:
            return HTMLResponse(self.render(f"parts/{name}_{part}.html", context | parts[part]()))
        for make in (parts if whole else now).values():
            context = context | make()
        return HTMLResponse(self.render(f"{name}.html", context | {"whole": whole}))

    def render(self, template: str, context: Context) -> str:
        """Render a template to text."""
        return self._templates.get_template(template).render(context)

    def figure(self, request: Request, key: Hashable, picture: Picture | None, ending: str) -> Response:
        """Respond with a figure as a file, or with 304 if the browser's copy is current.

        Args:
            request: The browser's request.
            key: Key of the figure, different for different figures.
            picture: The figure, or None if there is none.
            ending: The file format, as a key of `MEDIA`.

        Raises:
            HTTPException: 404 if there is no such figure or format.
        """
        if picture is None or ending not in MEDIA:
            raise HTTPException(404, f"there is no such figure; formats are {', '.join(MEDIA)}")
        tag = f'"{sha256(repr((key, ending)).encode()).hexdigest()[:32]}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": FIGURE_POLICY,
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        from ipcore.figures import PictureError  # noqa: PLC0415 - loads numpy, needed only to draw

        try:
            content = self.pictures.file(key, picture, ending)
        except PictureError as error:
            raise HTTPException(404, str(error)) from error
        return Response(content, media_type=MEDIA[ending], headers=headers)


def leaf(request: Request, rows: Iterable[Row], size: int) -> Leaf[Row]:
    """The page of a list that `?page=` selects.

    Raises:
        HTTPException: 400 if it is not a positive integer.
    """
    text = request.query_params.get("page", "1")
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_PAGES):
        raise HTTPException(400, f"page: {text!r} is not a page number; use 1, 2, 3, ...")
    number = int(text)
    start = (number - 1) * size
    found = tuple(islice(rows, start, start + size + 1))
    return Leaf(found[:size], number, start + 1, len(found) > size)


def query(request: Request, **changes: str | int | None) -> str:
    """The request's query with changes, as "?a=1&b=2"; None removes an entry."""
    kept = {name: value for name, value in request.query_params.items() if name != "part"}
    given = {name: str(value) for name, value in (kept | changes).items() if value not in (None, "")}
    return f"?{urlencode(given)}"
