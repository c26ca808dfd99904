"""What a study is, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from ipcore.analysis import Samples

ROOT = Path(__file__).resolve().parent.parent
Spec = Mapping[str, Any]


class StudyError(Exception):
    """A study could not be measured; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a study: where in the grid it stands, and its numbers.

    Attributes:
        parameterization: Label.
        hidden_layers: L.
        width: m.
        activation: Name.
        rate: Base learning rate.
        seed: Seed of its normals and batches.
        values: By name and step, "h_change/2@3"; final metrics without a step, "test_accuracy". A run that
            diverged lacks what it did not record.
    """

    parameterization: str
    hidden_layers: int
    width: int
    activation: str
    rate: float
    seed: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """What a study measured.

    Attributes:
        study: Its name.
        spec: What determines the numbers.
        date: When it was measured, "2026-11-23".
        machine: On what.
        seconds: How long it took, start of the service not counted.
        versions: Versions of what computed it; they do not enter the key.
        runs: Everything measured.
        command: What trained it, if not the reproduction itself.
        note: A sentence on what was special this time; or "".
    """

    study: str
    spec: Spec
    date: str
    machine: str
    seconds: float
    versions: Mapping[str, str]
    runs: tuple[Measured, ...]
    command: str = ""
    note: str = ""

    def select(self, **fields: object) -> tuple[Measured, ...]:
        """Runs with these values: `select(parameterization="mup", width=128)`."""
        chosen = self.runs
        for name, value in fields.items():
            of = attrgetter(name)
            chosen = tuple(run for run in chosen if of(run) == value)
        return chosen

    def samples(self, name: str, **fields: object) -> Samples:
        """One value by width and seed, of the runs selected; runs that lack it leave gaps."""
        chosen = self.select(**fields)
        return Samples.of({(r.width, r.seed): r.values.get(name, float("nan")) for r in chosen})


@dataclass(frozen=True, slots=True)
class Section:
    """A study's part of the page.

    Attributes:
        text: Markdown below its heading.
        pictures: SVG texts by file name.
    """

    text: str
    pictures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Study:
    """Something to measure, and how to tell of it.

    Attributes:
        name: Lower-case words joined by hyphens; names its files.
        title: Heading.
        spec: What determines the numbers: an experiment spec as in YAML, or parameters of `measure`.
        quick: The same smaller, for a trial in a minute.
        section: Writes about a result.
        metrics: Recorded metrics that are kept, where a service trains it: "h_change" stands for all layers
            and steps, "h@0" for all layers at step 0.
        measure: Trains it in this process instead. Calls its second argument after each piece of work with
            the part done, 0..1.
        file: Where `tests/gpu.sh` writes the same runs: without a GPU they take hours, so that they are
            trained here only if the study is asked for by name. "": it does not.
        read: With `file`: from the spec and the file's lines to what was measured, where its lines are no
            packs of runs. Raises StudyError.
        condense: From the values of a run to those that are kept.
    """

    name: str
    title: str
    spec: Spec
    quick: Spec
    section: Callable[[Result], Section]
    metrics: tuple[str, ...] = ()
    measure: Callable[[Spec, Callable[[float], None]], Iterable[Measured]] | None = None
    file: str = ""
    read: Callable[[Spec, Sequence[Mapping[str, Any]]], Iterable[Measured]] | None = None
    condense: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None

    @property
    def source(self) -> str:
        """The example that holds its spec, or ""."""
        return f"examples/{self.name}.yaml" if self.measure is None else ""


def key(spec: Spec) -> str:
    """SHA-256 of a spec in canonical JSON: what a result is known by.

    >>> key({"b": 1, "a": [2]}) == key({"a": [2], "b": 1})
    True
    """
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
