"""Takes over what `tests/gpu.sh` has trained: a study's runs from the files that it writes."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from reproduction.study import Measured, Result, Spec, Study, StudyError

_COMMAND: Final = "tests/gpu.sh"
_ENVIRONMENT: Final = "environment.json"
_AT_THE_END: Final = ("test_loss", "test_accuracy")


def take(study: Study, spec: Spec, folder: Path, note: str = "") -> Result:
    """A result of those runs of a spec that a folder of `tests/gpu.sh` holds; some may be missing.

    Raises:
        StudyError: The folder holds none of them, or what is there was trained otherwise.
    """
    environment, path = folder / _ENVIRONMENT, folder / study.file
    if missing := [str(file) for file in (environment, path) if not file.is_file()]:
        raise StudyError(f"there is no {' and no '.join(missing)}; tests/gpu.sh writes them")
    machine = json.loads(environment.read_text())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if study.read is not None:
        runs, seconds = list(study.read(spec, lines)), sum(line.get("seconds", 0.0) for line in lines)
    else:
        runs, seconds = _packed(study, spec, lines)
    if not runs:
        raise StudyError(f"{path} holds no run of {study.name}")
    versions = {name: machine["versions"][name] for name in ("numpy", "torch")}
    return Result(
        study.name,
        spec,
        date=datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date().isoformat(),
        machine=f"one {machine['gpu']['name']}" if "gpu" in machine else f"{machine['cores']} CPU cores",
        seconds=round(seconds, 1),
        versions=versions,
        runs=tuple(runs),
        command=_COMMAND,
        note=note,
    )


def _packed(study: Study, spec: Spec, lines: Iterable[Mapping[str, Any]]) -> tuple[list[Measured], float]:
    """The spec's runs in finished packs, and the seconds of those packs."""
    seconds, runs, wanted = 0.0, list[Measured](), _points(spec)
    for line in lines:
        chosen = [run for run in line["runs"] if _point(run) in wanted]
        if not line["finished"] or not chosen:
            continue
        _check(spec["spec"], line)
        seconds += line["seconds"]
        runs += [_measured(study, run) for run in chosen]
    return runs, seconds


def _points(spec: Spec) -> set[tuple[object, ...]]:
    """Where the runs of a spec stand in its grid, and on which dataset."""
    grid = spec["spec"]["grid"]
    axes = ("hidden_layers", "widths", "activations", "base_learning_rates", "seeds")
    labels = [entry["preset"] for entry in grid["parameterizations"]]
    return set(itertools.product([spec["spec"]["dataset"]], labels, *(grid[axis] for axis in axes)))


def _point(run: Mapping[str, Any]) -> tuple[object, ...]:
    names = ("dataset", "parameterization", "hidden_layers", "width", "activation", "rate", "seed")
    return tuple(run[name] for name in names)


def _check(spec: Mapping[str, Any], line: Mapping[str, Any]) -> None:
    """What is no part of the grid must be the same, too."""
    wanted = (spec["steps"], spec.get("precision", "fp32"))
    found = (line["updates"], line["runs"][0]["precision"])
    if wanted != found:
        raise StudyError(f"the pack {line['pack']!r} has (updates, precision) {found}, not {wanted}")


def _measured(study: Study, run: Mapping[str, Any]) -> Measured:
    """With points as a service gives them; of a run that diverged none."""
    values: dict[str, float] = {}
    if run["diverged"] is None:
        for name, quantity, step, value in _values(run):
            if name in study.metrics:
                values[f"{name}@{step}"] = value
            values |= {name: quantity[-1][1]} if name in _AT_THE_END else {}
    return condensed(
        study,
        Measured(
            run["parameterization"],
            run["hidden_layers"],
            run["width"],
            run["activation"],
            run["rate"],
            run["seed"],
            values,
        ),
    )


def _values(run: Mapping[str, Any]) -> Iterator[tuple[str, list[list[float]], int, float]]:
    for name, quantity in run.items():
        if isinstance(quantity, list):
            for step, value in quantity:
                yield name, quantity, int(step), value


def condensed(study: Study, run: Measured) -> Measured:
    """With the values that the study keeps."""
    return run if study.condense is None else replace(run, values=dict(study.condense(run.values)))
