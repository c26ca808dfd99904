"""From what an experiment measured to a report: which checks apply, and notes on what cannot be checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Final

from ipcore.analysis.case import Case, Kind, Measured, Run, Sizes, Trained
from ipcore.analysis.kinds import OF_ONE_RATE, OVER_RATES, wanted
from ipcore.analysis.kinds.limit import LIMIT
from ipcore.analysis.report import Check, Conclusion, Report, Subject
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import TOLERANCE

# A caller waits for the answer: a check takes about a millisecond and 300 bytes.
MAX_CHECKS: Final = 5_000
_MAX_NOTES: Final = 100


def make_report(
    trained: Trained, measured: Measured, tolerance: float = TOLERANCE, asked: Collection[str] = ()
) -> Report:
    """All possible checks, and notes on what cannot be checked.

    Args:
        trained: How the runs were trained.
        measured: Their recorded values.
        tolerance: For hidden layers; twice that for the output and for calibrated rates.
        asked: Names of kinds of check that are made only if asked for ("ALIGNMENT").
    """
    widths = sorted(trained.widths)
    kinds = wanted(asked)
    recorded = [kind for kind in kinds if _recorded(trained, kind)]
    notes = [*_notes(trained, measured, kinds)]
    if len(widths) < MIN_WIDTHS:
        notes.append(
            f"a slope needs at least {MIN_WIDTHS} widths, the experiment has "
            f"{', '.join(map(str, widths))}: add widths to grid.widths"
        )
        recorded = [kind for kind in recorded if kind is LIMIT]  # distances are useful without a slope
    analyze = functools.lru_cache(maxsize=None)(trained.analyze)  # the same for all base rates

    def case(subject: Subject, runs: tuple[Run, ...], steps: tuple[int, ...], sizes: Sizes) -> Case:
        of_subject = functools.partial(analyze, subject.reference, subject.layers - 1, subject.activation)
        samples = {key: Samples.of(values) for key, values in sizes.items()}
        limits = measured.limits.get(subject, ())
        outputs = measured.outputs.get(subject, {})
        return Case(subject, trained, runs, steps, samples, of_subject, tolerance, limits, outputs)

    checks: list[Check] = []
    conclusions: list[Conclusion] = []
    alignments: list[Conclusion] = []
    measurements: list[str] = []

    def add(one: Case, kinds: Iterable[Kind]) -> None:
        for found in (kind.find(one) for kind in kinds):
            checks.extend(found.checks)
            conclusions.extend(found.conclusions)
            alignments.extend(found.alignments)
            notes.extend(f"{one.subject}: {note}" for note in found.notes)
            measurements.extend(f"{one.subject}: {text}" for text in found.measurements)

    for subject, runs in measured.runs.items():
        if len(checks) >= MAX_CHECKS:
            notes.append(f"only the first {MAX_CHECKS} checks are made; choose fewer steps")
            break
        one = case(subject, runs, measured.steps, _with_gaps(trained, measured, subject, recorded))
        chosen = [kind for kind in OF_ONE_RATE if kind in recorded and kind.applies(one)]
        if chosen and all(run.diverged for run in runs):
            notes.append(f"{subject}: every run diverged; lower the base rate")
        if chosen and isinstance(one.analysis, str):
            notes.append(f"{subject}: {one.analysis}")
        add(one, chosen)
    for subject, runs in _over_rates(measured):
        one = case(subject, runs, (), {})
        add(one, [kind for kind in OVER_RATES if kind in recorded and kind.applies(one)])
    return Report(tuple(checks), tuple(conclusions), _some(notes), tuple(alignments), _some(measurements))


def _recorded(trained: Trained, kind: Kind) -> bool:
    return not kind.probe or kind.probe in trained.probes


def _notes(trained: Trained, measured: Measured, kinds: Iterable[Kind]) -> Iterator[str]:
    """Notes on the whole experiment."""
    if measured.unfinished:
        yield f"{measured.unfinished} runs have not ended; only what is committed is checked"
    if measured.truncated:
        yield "there are too many points; choose fewer steps"
    for kind in kinds:
        if kind.missing and not (measured.steps and _recorded(trained, kind)):
            yield kind.missing
    if measured.steps and 0 not in measured.steps and "coordinates" in trained.probes:
        yield (
            "step 0 is not checked: with sizes at initialization a wrong multiplier is found in its own "
            "layer; add 0 to record.probes.steps"
        )
    if trained.weight_decay and measured.steps:
        yield (
            "changes are not checked: weight decay moves every layer by a part of its initial size, "
            "which the predictions leave out"
        )


def _with_gaps(trained: Trained, measured: Measured, subject: Subject, kinds: Iterable[Kind]) -> Sizes:
    """A subject's sizes, NaN for runs that should have recorded one: those that diverged before, say.

    Sizes at steps that are not checked, parts and gradients are left as they are.
    """
    if subject not in measured.sizes:
        return {}
    layers = trained.probed_layers or range(1, subject.layers + 1)
    nowhere = {(run.width, run.seed): math.nan for run in measured.runs[subject]}
    wanted = [("h_change" if step else "h", layer, step) for step in measured.steps for layer in layers]
    sizes = measured.sizes[subject]
    everywhere = {quantity for kind in kinds for quantity in kind.everywhere}
    wanted += [key for key in sizes if key[0] in everywhere]
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
