"""Measures what is missing, then writes the page: `python -m reproduction [STUDY ...]`.

Measurements that exist for the same spec are not repeated. An interrupted reproduction continues where it
stopped: experiments are in the home folder `.reproduce`, pieces of some in `.reproduce/pieces`. Other
studies that need no service start again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

import iplab
from ipcore.data import check_dataset
from ipcore.errors import DataError
from reproduction.gpu import condensed, take
from reproduction.page import write
from reproduction.paper import page as paper
from reproduction.pieces import seconds_spent
from reproduction.progress import shown
from reproduction.results import load, measured_now, save
from reproduction.service import run, service
from reproduction.studies import STUDIES
from reproduction.study import ROOT, Spec, Study, StudyError

HOME: Final = ROOT / ".reproduce"
RESULTS: Final = ROOT / "reproduction" / "results"
DOCS: Final = ROOT / "docs"


def main() -> int:
    """Measure what is missing, write the page; returns the number of studies that failed."""
    options = _options()
    quick, names = options.quick, options.studies or list(paper.names() if options.paper else STUDIES)
    results = HOME / "quick" / "results" if quick else RESULTS
    docs = HOME / "quick" if quick else DOCS
    console, failed = Console(), 0
    with ExitStack() as stack:
        client: iplab.Client | None = None
        for name in [] if options.page else names:
            study = STUDIES[name]
            spec = study.quick if quick else study.spec
            if options.gpu is not None:
                failed += _take(study, spec, options.gpu, options.note, results, console)
                continue
            if load(name, spec, results) is not None:
                console.print(f"{name}: measured already")
                continue
            if study.file and not quick and name not in options.studies:
                console.print(
                    f"{name}: not run: it is for a GPU (tests/gpu.sh), or to be named", style="yellow"
                )
                continue
            if missing := _missing_data(spec):
                console.print(f"{name}: not run: {missing}", style="yellow")
                continue
            try:
                if study.measure is None and client is None:
                    address = options.address or stack.enter_context(service(HOME / "service"))
                    client = stack.enter_context(iplab.connect(address))
                _measure(study, spec, client, results, console, options.experiment)
            except (StudyError, iplab.IplabError) as error:
                failed += 1
                console.print(f"{name}: failed: {error}", style="red")
    page = write(results, docs, quick=quick)
    console.print(f"Written: {page.relative_to(ROOT)}")
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reproduction", description=__doc__)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small versions, below .reproduce/quick")
    parser.add_argument("--paper", action="store_true", help="the studies behind docs/paper.md, by default")
    parser.add_argument(
        "--page", action="store_true", help="measure nothing, write the page from the results"
    )
    parser.add_argument("--address", help="use the service at this address instead of one of its own")
    parser.add_argument("--experiment", default="", help="take what this experiment there has for the study")
    parser.add_argument("--gpu", type=Path, metavar="OUT", help="take what tests/gpu.sh OUT has trained")
    parser.add_argument("--note", default="", help="with --gpu: a sentence for the page")
    options = parser.parse_args()
    if options.gpu and not all(STUDIES[name].file for name in options.studies if name in STUDIES):
        parser.error("tests/gpu.sh trains " + ", ".join(s.name for s in STUDIES.values() if s.file))
    if options.gpu and not options.studies:
        options.studies = [study.name for study in STUDIES.values() if study.file]
    if options.experiment and (len(options.studies) != 1 or not options.address):
        parser.error("--experiment needs --address and exactly one study")
    if unknown := sorted(set(options.studies) - set(STUDIES)):
        parser.error(f"no study is called {', '.join(unknown)}; there are {', '.join(STUDIES)}")
    return options


def _missing_data(spec: Spec) -> str:
    """Why a spec's dataset cannot be loaded, or ""; simulations need none."""
    dataset = spec.get("spec", spec).get("dataset")
    if dataset is None:
        return ""
    try:
        check_dataset(dataset, os.environ.get("IPLAB_DATA"))
    except DataError as error:
        return str(error)
    return ""


def _take(study: Study, spec: Spec, folder: Path, note: str, results: Path, console: Console) -> int:
    """Take over what a GPU has trained; returns the number of failures."""
    try:
        result = take(study, spec, folder, note)
    except StudyError as error:
        console.print(f"{study.name}: failed: {error}", style="red")
        return 1
    save(result, results)
    console.print(f"{study.name}: {len(result.runs)} runs of {folder}")
    return 0


def _measure(
    study: Study,
    spec: Spec,
    client: iplab.Client | None,
    results: Path,
    console: Console,
    experiment: str,
) -> None:
    console.print(f"{study.name}: {study.title}", style="bold")
    if study.measure is None:
        if client is None:
            raise StudyError("it needs a service")
        seconds, found = run(client, study, spec, experiment)
        runs = tuple(condensed(study, one) for one in found)
    else:
        begun = time.monotonic()
        with shown(console, study.name) as progress:
            runs = tuple(study.measure(spec, progress))
        # Pieces that were measured before an interruption count.
        seconds = max(time.monotonic() - begun, seconds_spent(study.name, spec))
    save(measured_now(study.name, spec, seconds, runs), results)
    console.print(f"{study.name}: {len(runs)} runs in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
