"""docs/reproduction.md, docs/paper.md and their pictures, from the results alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from reproduction.markdown import table
from reproduction.paper import page as paper
from reproduction.results import load
from reproduction.studies import STUDIES
from reproduction.study import Result, Section, Study

_INTRODUCTION: Final = """# Reproduction

Claims of theory and of the paper (Hajjar, Chizat & Giraud, arXiv:2110.15596), compared with our own
experiments. This page is made from `reproduction/results/*.json` by `python -m reproduction --page`: tables,
verdicts and pictures come from there, the prose from `reproduction/*.py`. To measure everything again,
delete those files and run

    IPLAB_DATA=<folder that holds mnist/> make reproduce

Without that folder the MNIST studies are left out. What takes hours without a GPU is left out unless it is
named; `tests/gpu.sh OUT` trains it on a GPU, and `python -m reproduction --gpu OUT` takes it over. A verdict
is *agrees*, *disagrees* or *undecided*; the rule is in [analysis.md](analysis.md), the theory in
[theory.md](theory.md)."""
# Their runs are alike: five or six hidden layers of width 1024, 600 updates of 512 images.
_ALIKE: Final = ("authors-mnist", "authors-mnist-methods", "relu-ip-llr")


def write(results: Path, docs: Path, *, quick: bool = False) -> Path:
    """Write the page and its pictures; pictures that are no longer used are removed.

    Args:
        results: Folder of results.
        docs: Folder of the page; pictures go to `reproduction` below it.
        quick: Results of the small versions.

    Returns:
        The page.
    """
    pages = render(results, quick=quick)
    folder = docs / "reproduction"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        if f"reproduction/{old.name}" not in pages:
            old.unlink()
    for name, text in pages.items():
        (docs / name).write_text(text)
    return docs / "reproduction.md"


def render(results: Path, *, quick: bool = False) -> dict[str, str]:
    """All files of the page, by their path below docs/."""
    files: dict[str, str] = {}
    parts, overview, measured = [], [], []
    for name, study in STUDIES.items():
        result = load(name, study.quick if quick else study.spec, results)
        row = [f"[{study.title}](#{paper.anchor(study.title)})", f"`{_command(study, result)}`"]
        if result is None:
            overview.append([*row, "not run", "-"])
            parts.append(f"## {study.title}\n\nNot measured yet: `python -m reproduction {name}`.")
            continue
        measured.append(result)
        section = study.section(result)
        overview.append([*row, str(len(result.runs)), f"{result.seconds:.0f} s"])
        files |= {f"reproduction/{picture}": text for picture, text in section.pictures.items()}
        parts.append(_part(study, result, section))
    head = table(["", "measured by", "runs", "time"], overview)
    files["paper.md"] = paper.render(STUDIES, results, quick=quick)
    files["reproduction.md"] = "\n\n".join([_INTRODUCTION, head, *_time(measured), *parts]) + "\n"
    return files


def _time(results: list[Result]) -> list[str]:
    """An estimate of the total time on an otherwise idle machine, if the times allow one."""
    alike = [result for result in results if result.study in _ALIKE]
    results = [result for result in results if not result.command]
    if len(results) < len([study for study in STUDIES.values() if not study.file]):
        return []
    paces = [result.seconds / len(result.runs) for result in alike]
    fast, slow = min(paces), max(paces)
    others = sum(result.seconds for result in results if result.study not in _ALIKE)
    total = others + fast * sum(len(result.runs) for result in alike)
    return [
        f"The machine did other work as well: of {', '.join(_ALIKE)}, whose runs are alike, the quickest "
        f"took {fast:.0f} s a run and the slowest {slow:.0f} s. At the pace of the quickest everything but "
        f"what ran on a GPU takes {total / 3600:.1f} hours, not "
        f"{sum(result.seconds for result in results) / 3600:.1f}."
    ]


def _part(study: Study, result: Result, section: Section) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    source = f"[{study.source}](../{study.source})" if study.source else _parameters(result)
    foot = (
        f"Measured by `{_command(study, result)}` ({source}): {len(result.runs)} runs in "
        f"{result.seconds:.0f} s on {result.machine}, {result.date}; {versions}."
        f"{' ' if result.note else ''}{result.note}"
    )
    pictures = [f"![{study.title}](reproduction/{name})" for name in section.pictures]
    return "\n\n".join([f"## {study.title}", section.text, *pictures, foot])


def _command(study: Study, result: Result | None) -> str:
    return (result and result.command) or f"python -m reproduction {study.name}"


def _parameters(result: Result) -> str:
    return f"parameters `{json.dumps(result.spec)}`"
