"""From what an experiment measured to a report: which checks apply, and notes on what cannot be checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from ipcore.analysis.case import Case, Kind, Measured, Run, Sizes, Trained
from ipcore.analysis.kinds import OF_ONE_RATE, OVER_RATES
from ipcore.analysis.report import Check, Conclusion, Report, Subject
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import TOLERANCE

# Somebody waits for the answer: a check takes about a millisecond and 300 bytes.
MAX_CHECKS: Final = 5_000
_MAX_NOTES: Final = 100

NO_PROBES: Final = (
    "coordinates and stationarity are not checked: nothing was recorded for them; add "
    "record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]} to the spec"
)


def make_report(trained: Trained, measured: Measured, tolerance: float = TOLERANCE) -> Report:
    """Everything that can be checked, and notes on what cannot.

    Args:
        trained: How the runs were trained.
        measured: What they recorded.
        tolerance: For hidden layers; twice that for the output and for calibrated rates.
    """
    widths = sorted(trained.widths)
    notes = [*_notes(trained, measured)]
    if len(widths) < MIN_WIDTHS:
        notes.append(
            f"a slope needs at least {MIN_WIDTHS} widths, the experiment has "
            f"{', '.join(map(str, widths))}: give grid.widths more"
        )
        return Report(notes=tuple(notes))
    analyze = functools.lru_cache(maxsize=None)(trained.analyze)  # the same for all base rates

    def case(subject: Subject, runs: tuple[Run, ...], steps: tuple[int, ...], sizes: Sizes) -> Case:
        of_subject = functools.partial(analyze, subject.reference, subject.hidden_layers, subject.activation)
        samples = {key: Samples.of(values) for key, values in sizes.items()}
        return Case(subject, trained, runs, steps, samples, of_subject, tolerance)

    checks: list[Check] = []
    conclusions: list[Conclusion] = []

    def add(one: Case, kinds: Iterable[Kind]) -> None:
        for found in (kind.find(one) for kind in kinds):
            checks.extend(found.checks)
            conclusions.extend(found.conclusions)
            notes.extend(f"{one.subject}: {note}" for note in found.notes)

    for subject, runs in measured.runs.items():
        if len(checks) >= MAX_CHECKS:
            notes.append(f"only the first {MAX_CHECKS} checks are made; choose fewer steps")
            break
        one = case(subject, runs, measured.steps, _with_gaps(trained, measured, subject))
        kinds = [kind for kind in OF_ONE_RATE if kind.applies(one)]
        if kinds and all(run.diverged for run in runs):
            notes.append(f"{subject}: every run diverged; lower the base rate")
        if kinds and isinstance(one.analysis, str):
            notes.append(f"{subject}: {one.analysis}")
        add(one, kinds)
    for subject, runs in _over_rates(measured):
        one = case(subject, runs, (), {})
        add(one, [kind for kind in OVER_RATES if kind.applies(one)])
    return Report(tuple(checks), tuple(conclusions), _some(notes))


def _notes(trained: Trained, measured: Measured) -> Iterator[str]:
    """On the whole experiment."""
    if measured.unfinished:
        yield f"{measured.unfinished} runs have not ended; only what is committed is checked"
    if measured.truncated:
        yield "there are too many points; choose fewer steps"
    if not measured.steps:
        yield NO_PROBES
    elif 0 not in measured.steps:
        yield (
            "step 0 is not checked: with sizes at initialization a wrong multiplier is found in its own "
            "layer; add 0 to record.probes.steps"
        )
    if trained.weight_decay and measured.steps:
        yield (
            "changes are not checked: weight decay moves every layer by a part of its initial size, "
            "which the predictions leave out"
        )


def _with_gaps(trained: Trained, measured: Measured, subject: Subject) -> Sizes:
    """A subject's sizes, NaN for runs that should have recorded one: those that diverged before, say.

    Sizes at steps that are not checked, parts and gradients are what there is.
    """
    if subject not in measured.sizes:
        return {}
    layers = trained.probed_layers or range(1, subject.layers + 1)
    nowhere = {(run.width, run.seed): math.nan for run in measured.runs[subject]}
    wanted = [("h_change" if step else "h", layer, step) for step in measured.steps for layer in layers]
    sizes = measured.sizes[subject]
    return {**sizes, **{key: {**nowhere, **sizes.get(key, {})} for key in wanted}}


def _over_rates(measured: Measured) -> Iterator[tuple[Subject, tuple[Run, ...]]]:
    together: dict[Subject, list[Run]] = {}
    for subject, runs in measured.runs.items():
        together.setdefault(replace(subject, base_learning_rate=0.0), []).extend(runs)
    for subject, group in together.items():
        yield subject, tuple(group)


def _some(notes: Iterable[str]) -> tuple[str, ...]:
    """Each note once, and not too many."""
    different = tuple(dict.fromkeys(notes))
    if (more := len(different) - _MAX_NOTES) > 0:
        return (*different[:_MAX_NOTES], f"{more} more notes are left out")
    return different
