"""The web application: routes, globals of templates, error pages.

Handlers are plain functions, which Starlette runs in threads, because the SDK blocks. Parts of a page can be
requested separately by `?part=NAME`. `static/live.js` requests those that change while something trains and
those that take long to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from iplab import errors
from ipserver.names import MLFLOW_EXPERIMENTS, MLFLOW_HINT
from ipserver.web import words
from ipserver.web.calls import Calls
from ipserver.web.compare import compare_figure, compare_page
from ipserver.web.experiments import experiment_figure, experiment_page, experiments_page, run_page, runs_page
from ipserver.web.guard import Guard
from ipserver.web.pictures import Pictures
from ipserver.web.site import Context, Site
from ipserver.web.studies import studies_page, study_figure, study_page

_HERE: Final = Path(__file__).parent
# HTTP status by exception; the first matching class applies.
_STATUS: Final[tuple[tuple[type[Exception], HTTPStatus], ...]] = (
    (errors.InvalidRequestError, HTTPStatus.BAD_REQUEST),
    (errors.UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (errors.PermissionDeniedError, HTTPStatus.FORBIDDEN),
    (errors.NotFoundError, HTTPStatus.NOT_FOUND),
    (errors.UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.TimedOutError, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.TooExpensiveError, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.IplabError, HTTPStatus.BAD_GATEWAY),
)
_ASK: Final = {"WWW-Authenticate": 'Basic realm="iplab: any name, and a token as the password"'}
_IN_A_BROWSER: Final = "In a browser: load the page again, and give the token as the password, with any name."
# While the service is unavailable the page is reloaded. (Not after a timeout, which would repeat the work.)
_AGAIN_SECONDS: Final = 10
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
_ROUTES: Final = (
    ("/", experiments_page),
    ("/experiments/{experiment}", experiment_page),
    ("/experiments/{experiment}/runs", runs_page),
    ("/experiments/{experiment}/runs/{run}", run_page),
    ("/experiments/{experiment}/figures/{kind}.{ending}", experiment_figure),
    ("/studies", studies_page),
    ("/studies/{study}", study_page),
    ("/studies/{study}/figure.{ending}", study_figure),
    ("/compare", compare_page),
    ("/compare/{a}/{b}/figure.{ending}", compare_figure),
)


def application(calls: Calls, host: str, mlflow: str, lifespan: Lifespan | None = None) -> ASGIApp:
    """Create the web application.

    Args:
        calls: The API.
        host: Host on which it is served, besides the names of loopback.
        mlflow: URL of MLflow's UI, for links; "" for no links.
        lifespan: Context of the application's run.
    """
    templates = Environment(
        loader=PackageLoader("ipserver.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals |= {
        "address": calls.address,
        "mlflow": mlflow.rstrip("/"),
        "mlflow_experiments": MLFLOW_EXPERIMENTS,
        "mlflow_hint": MLFLOW_HINT,
        "again": 0,
    }
    templates.filters |= words.FILTERS
    site = Site(calls, templates, Pictures())

    def route(path: str, handler: Callable[[Site, Request], Response]) -> Route:
        def handle(request: Request) -> Response:
            return handler(site, request)

        return Route(path, handle, methods=["GET"], name=handler.__name__)

    def failed(request: Request, error: Exception) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
        text, headers = str(error), None
        if status is HTTPStatus.UNAUTHORIZED:
            text = f"{text}\n{_IN_A_BROWSER}"
            # The header makes the browser ask for a user and a password. Requests for parts omit it,
            # because the open page makes one every few seconds.
            headers = None if "part" in request.query_params else _ASK
        return _error_page(site, request, status or HTTPStatus.INTERNAL_SERVER_ERROR, text, headers)

    def refused(request: Request, error: Exception) -> Response:
        known = error if isinstance(error, HTTPException) else HTTPException(500)
        return _error_page(site, request, HTTPStatus(known.status_code), known.detail, known.headers)

    app = Starlette(
        routes=[
            *(route(path, handler) for path, handler in _ROUTES),
            Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
        ],
        exception_handlers={errors.IplabError: failed, HTTPException: refused},
        lifespan=lifespan,
    )
    return Guard(app, host)  # outermost, so that Starlette's own errors have the headers too


def _error_page(
    site: Site, request: Request, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Render an error as a page, or as a part if a part was requested."""
    again = _AGAIN_SECONDS if status is HTTPStatus.SERVICE_UNAVAILABLE else 0
    context: Context = {"title": status.phrase, "lines": text.splitlines() or [status.phrase], "again": again}
    name = "parts/error_text.html" if "part" in request.query_params else "error.html"
    return HTMLResponse(site.render(name, context), status, headers)
