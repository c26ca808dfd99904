"""Measurements made in pieces, kept on disk, so that an interrupted study continues."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from reproduction.study import ROOT, Measured, Spec, key

FOLDER: Final = ROOT / ".reproduce" / "pieces"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a study that is measured at once.

    Attributes:
        name: Unique within the study.
        work: How long it takes, in any unit.
        measure: Makes its runs.
    """

    name: str
    work: float
    measure: Callable[[], Sequence[Measured]]


def resumed(
    study: str,
    spec: Spec,
    pieces: Sequence[Piece],
    progress: Callable[[float], None],
    folder: Path = FOLDER,
) -> Iterator[Measured]:
    """The runs of all pieces, in order; those measured before with the same spec are read, not measured.

    Args:
        study: Its name.
        spec: What determines the numbers.
        pieces: The parts, with unique names.
        progress: Called after each piece with the part done, 0..1.
        folder: Where pieces are kept, one file per study and spec.
    """
    path = _path(study, spec, folder)
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: runs for name, _, runs in _read(path)}
    total, done = sum(piece.work for piece in pieces), 0.0
    for piece in pieces:
        runs = known.get(piece.name)
        if runs is None:
            begun = time.monotonic()
            runs = list(piece.measure())
            seconds = round(time.monotonic() - begun, 1)
            with path.open("a") as file:
                file.write(json.dumps([piece.name, seconds, [astuple(run) for run in runs]]) + "\n")
        yield from runs
        done += piece.work
        progress(done / total)


def seconds_spent(study: str, spec: Spec, folder: Path = FOLDER) -> float:
    """How long the pieces of a study took that are kept."""
    return sum(seconds for _, seconds, _ in _read(_path(study, spec, folder)))


def _path(study: str, spec: Spec, folder: Path) -> Path:
    return folder / f"{study}-{key(spec)[:16]}.jsonl"


def _read(path: Path) -> list[tuple[str, float, list[Measured]]]:
    """Name, seconds and runs of what was written whole; an interruption may have cut off the last line."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole))
    rows = [json.loads(line) for line in whole]
    return [(name, seconds, [Measured(*run) for run in runs]) for name, seconds, runs in rows]
