"""docs/paper.md: every figure of the paper, what was found there, and what is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reproduction.markdown import table
from reproduction.paper.figures import FIGURES, Figure
from reproduction.results import load
from reproduction.study import Result, Study

_INTRODUCTION: Final = """# The paper's figures

Figures and tables of Hajjar, Chizat & Giraud (arXiv:2110.15596) and of their notebooks, each with what was
found there and a picture of what is measured here; numbers, verdicts and how to measure them are on
[reproduction.md](reproduction.md). This page is made from `reproduction/results/*.json`. One command measures
what is missing and writes it:

    IPLAB_DATA=<folder that holds mnist/> make paper

It continues where it was interrupted. `make paper QUICK=1` draws small versions, in minutes, below
`.reproduce/quick`. What takes hours without a GPU (CIFAR-10, the sweeps of 2023) is trained by
`tests/gpu.sh`."""


def names() -> tuple[str, ...]:
    """Names of the studies of all figures, in their order."""
    return tuple(dict.fromkeys(name for figure in FIGURES for name in figure.studies))


def render(studies: Mapping[str, Study], results: Path, *, quick: bool = False) -> str:
    """The page; its pictures are those of `reproduction.md`, in `reproduction/` beside it.

    Args:
        studies: All, by name.
        results: Folder of results.
        quick: Results of the small versions.
    """
    overview, parts = [], []
    for figure in FIGURES:
        found = {
            name: load(name, studies[name].quick if quick else studies[name].spec, results)
            for name in figure.studies
        }
        measured = sum(result is not None for result in found.values())
        overview.append([f"[{figure.title}](#{anchor(figure.title)})", f"{measured} of {len(found)}"])
        parts.append(_part(figure, studies, found))
    head = table(["figure or table", "studies measured"], overview)
    return "\n\n".join([_INTRODUCTION, head, *parts]) + "\n"


def anchor(title: str) -> str:
    """The anchor of a heading."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def _part(figure: Figure, studies: Mapping[str, Study], found: Mapping[str, Result | None]) -> str:
    lines = [f"## {figure.title}", f"**There.** {figure.found}"]
    for name, result in found.items():
        study = studies[name]
        link = f"[{study.title}](reproduction.md#{anchor(study.title)})"
        if result is None:
            where = "`tests/gpu.sh`" if study.file else f"`python -m reproduction {name}`"
            lines.append(f"**Here.** {link}: not measured yet ({where}).")
            continue
        pictures = [f"![{study.title}](reproduction/{file})" for file in study.section(result).pictures]
        lines += [f"**Here.** {link}: {len(result.runs)} runs on {result.machine}, {result.date}.", *pictures]
    return "\n\n".join(lines)
