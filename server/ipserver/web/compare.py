"""The page that compares two experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iplab.errors import InvalidRequestError, NotFoundError
from iplab.results.comparing import METRICS, Comparison, both_curves, compare
from iplab.results.summary import label
from ipserver.web.pictures import version
from ipserver.web.site import Context, Site

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ipcore.figures import Picture
    from iplab.results.experiment import Experiment

_OFFERED: Final = 100


def compare_page(site: Site, request: Request) -> Response:
    """Compare two experiments; without two names, show a form."""
    client = site.client(request)
    left, right, metric = (request.query_params.get(name, "").strip() for name in ("a", "b", "metric"))
    context: Context = {"a": left, "b": right, "metric": metric, "metrics": METRICS, "label": label}
    context |= {"found": None, "wrong": [], "picture": None}
    context["offered"] = [one.id for one in client.experiments(limit=_OFFERED)]
    if left and right:
        try:
            sides = client.experiment(left), client.experiment(right)
            found = compare(*sides, metric)
            context |= {"found": found, "columns": _columns(found), "picture": _curves(site, *sides)}
        except InvalidRequestError as error:
            context["wrong"] = error.lines()
        except NotFoundError as error:
            context["wrong"] = [str(error)]
    return site.page(request, "compare", context)


def _columns(found: Comparison) -> list[int]:
    """Indices of the axes in which the pairs differ; all axes if there is a single pair."""
    places = range(len(found.axes))
    one = len(found.pairs) == 1
    return [place for place in places if one or len({pair.settings[place] for pair in found.pairs}) > 1]


def compare_figure(site: Site, request: Request) -> Response:
    """Learning curves of both as a file."""
    client, names = site.client(request), request.path_params
    sides = client.experiment(names["a"]), client.experiment(names["b"])
    return site.figure(request, _key(*sides), _curves(site, *sides), names["ending"])


def _key(left: Experiment, right: Experiment) -> tuple[object, ...]:
    return "curves", version(left), version(right)


def _curves(site: Site, left: Experiment, right: Experiment) -> Picture | None:
    return site.pictures.picture(_key(left, right), lambda: both_curves(left, right, "test_loss"))
