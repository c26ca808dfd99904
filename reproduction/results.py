"""Results as files: one JSON per study, keyed by its spec, so that a study is measured once."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from reproduction.study import Measured, Result, Spec, key

_DIGITS: Final = 6
_GRID: Final = ("parameterization", "hidden_layers", "width", "activation", "rate", "seed")


def measured_now(study: str, spec: Spec, seconds: float, runs: Iterable[Measured]) -> Result:
    """A result of today, on this machine."""
    return Result(
        study,
        spec,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=f"{os.cpu_count()} CPU cores",
        seconds=round(seconds, 1),
        versions={name: version(name) for name in ("iplab", "numpy", "torch")},
        runs=tuple(runs),
    )


def save(result: Result, folder: Path) -> Path:
    """Write a result, whole or not at all. Values keep six significant digits."""
    document: dict[str, Any] = {"study": result.study, "key": key(result.spec), **asdict(result)}
    runs = document.pop("runs")
    lines = ",\n".join(json.dumps([*(run[name] for name in _GRID), _rounded(run["values"])]) for run in runs)
    head = json.dumps(document, indent=1)
    target, draft = folder / f"{result.study}.json", folder / f".{result.study}.draft"
    folder.mkdir(parents=True, exist_ok=True)
    # One line per run, so that changes can be read.
    draft.write_text(
        f'{head[:-2]},\n "columns": {json.dumps([*_GRID, "values"])},\n "runs": [\n{lines}\n]}}\n'
    )
    draft.replace(target)
    return target


def load(study: str, spec: Spec, folder: Path) -> Result | None:
    """The result of a study with exactly this spec, or None."""
    path = folder / f"{study}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    if document["key"] != key(spec):
        return None
    runs = tuple(Measured(*row) for row in document["runs"])
    fields = ("study", "spec", "date", "machine", "seconds", "versions")
    later = {name: document[name] for name in ("command", "note") if name in document}
    return Result(**{name: document[name] for name in fields}, runs=runs, **later)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}
