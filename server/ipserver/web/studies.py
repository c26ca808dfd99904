"""Pages of studies and their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iplab.studies.answers import interval_text, prediction_text
from ipserver.web.pictures import version_of_study
from ipserver.web.site import Context, Site, leaf, query

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ipcore.figures import Picture
    from iplab.studies.study import Study

_STUDIES: Final = 50


def studies_page(site: Site, request: Request) -> Response:
    """Studies, newest first."""
    client = site.client(request)
    context: Context = {"request": request, "query": query}

    def listed() -> Context:
        return {"studies": leaf(request, client.studies(), _STUDIES)}

    return site.page(request, "studies", context, now={"list": listed})


def study_page(site: Site, request: Request) -> Response:
    """A study: the answer, its figure and numbers, its rounds and experiments."""
    study = site.client(request).get_study(request.path_params["study"])
    context: Context = {"study": study, "interval": interval_text, "prediction": prediction_text}
    return site.page(
        request,
        "study",
        context,
        now={"progress": dict, "rounds": dict},
        later={"figure": lambda: {"picture": _picture(site, study)}},
    )


def study_figure(site: Site, request: Request) -> Response:
    """A study's figure as a file."""
    study = site.client(request).get_study(request.path_params["study"])
    return site.figure(request, version_of_study(study), _picture(site, study), request.path_params["ending"])


def _picture(site: Site, study: Study) -> Picture | None:
    from iplab.studies.pictures import picture_of  # noqa: PLC0415 - loads numpy, needed only to draw

    return site.pictures.picture(version_of_study(study), lambda: picture_of(study))
