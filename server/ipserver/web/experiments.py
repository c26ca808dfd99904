"""Pages of experiments, their runs and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from iplab.display.answers import answers
from iplab.display.html import grid_of
from iplab.display.sorting import order_by
from iplab.display.tables import RESULTS, best_table, summary_table
from iplab.errors import InvalidRequestError
from iplab.results.best import advice, chosen_by
from iplab.results.settings import AXES
from iplab.results.summary import label
from ipserver.web.pictures import version
from ipserver.web.site import Context, Site, leaf, query
from ipserver.web.words import setting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from iplab.results.experiment import Experiment
    from iplab.results.run import Run

_EXPERIMENTS: Final = 50
_RUNS: Final = 100
_STUDIES: Final = 10
_NOTES: Final = 12


def experiments_page(site: Site, request: Request) -> Response:
    """The first page: experiments, newest first, above them the newest studies."""
    client = site.client(request)
    filter = request.query_params.get("filter", "")

    def listed() -> Context:
        try:
            found = leaf(request, client.experiments(filter), _EXPERIMENTS)
        except InvalidRequestError as error:
            return {"experiments": None, "wrong": error.lines(), "why": "", "studies": []}
        why = "" if found.rows or not filter else client.unmatched(filter)
        studies = [] if filter or found.number > 1 else list(client.studies(limit=_STUDIES))
        return {"experiments": found, "wrong": [], "why": why, "studies": studies}

    context: Context = {"filter": filter, "request": request, "query": query}
    return site.page(request, "experiments", context, now={"lists": listed})


def experiment_page(site: Site, request: Request) -> Response:
    """An experiment: progress, answers, best rates, figures, results, theory, spec."""
    experiment = site.client(request).experiment(request.path_params["experiment"])
    context: Context = {"experiment": experiment}
    return site.page(
        request,
        "experiment",
        context,
        now={"progress": dict, "theory": lambda: {"spec": experiment.to_dict()["spec"]}},
        later={"results": lambda: _results(site, experiment)},
    )


def _results(site: Site, experiment: Experiment) -> Context:
    """The slow part of the page: everything that is computed from all runs."""
    summary = experiment.summary()
    measured = site.pictures.measured(experiment)
    best = experiment.best_rates()
    several = any(row.rates > 1 for row in best)
    notes = (*measured.report.measurements, *measured.report.notes)
    return {
        "answers": answers(measured.report),
        "notes": notes[:_NOTES],
        "more_notes": max(0, len(notes) - _NOTES),
        "pictures": measured.pictures,
        "best": grid_of(best_table(best)) if several else None,
        "criterion": chosen_by(best[0].criterion) if best else "",
        "advice": advice(best),
        "summary": grid_of(summary_table(summary)) if summary else None,
    }


def experiment_figure(site: Site, request: Request) -> Response:
    """One figure as a file."""
    kind, ending = request.path_params["kind"], request.path_params["ending"]
    experiment = site.client(request).experiment(request.path_params["experiment"])
    picture = site.pictures.measured(experiment).pictures.get(kind)
    return site.figure(request, (version(experiment), kind), picture, ending)


def runs_page(site: Site, request: Request) -> Response:
    """The table of runs, by a filter and in an order."""
    experiment = site.client(request).experiment(request.path_params["experiment"])
    filter, sort = (request.query_params.get(name, "") for name in ("filter", "sort"))
    context: Context = {"experiment": experiment, "filter": filter, "sort": sort, "label": label}
    context |= {"request": request, "query": query}
    try:
        found = leaf(request, experiment.runs(filter, order_by(sort)), _RUNS)
        why = "" if found.rows or not filter else experiment.unmatched(filter)
        context |= {"runs": found, "wrong": [], "why": why} | _columns(found.rows)
    except InvalidRequestError as error:
        context |= {"runs": None, "wrong": error.lines(), "why": ""}
    return site.page(request, "runs", context)


def _columns(runs: Sequence[Run]) -> Context:
    """The columns in which these runs differ, and a sentence with the values that they share."""
    columns, shared = [], []
    for name in (*AXES, "committed_steps", *RESULTS):
        values = {getattr(run, name) for run in runs}
        if len(runs) > 1 and len(values) == 1 and name not in RESULTS:
            shared.append(f"{label(name)} {setting(values.pop())}")
        elif values != {None}:
            columns.append(name)
    return {"columns": columns, "shared": shared}


def run_page(site: Site, request: Request) -> Response:
    """One run: settings, results, attempts, files, and why it failed."""
    run = site.client(request).experiment(request.path_params["experiment"]).run(request.path_params["run"])
    context: Context = {
        "run": run,
        "parent": request.path_params["experiment"],
        "files": run.artifacts(),
        "results": {label(name): value for name, value in run.results.items() if value is not None},
        "axes": AXES,
    }
    return site.page(request, "run", context)
