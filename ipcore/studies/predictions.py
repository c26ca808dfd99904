"""Predictions for the numbers that studies measure.

A prediction is an interval of exponents: a point where theory gives one number, [delta*, delta_c] for a
drift, half-open for an upper bound; and empty, with the reason, where there is no prediction.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from fractions import Fraction

from ipcore import theory
from ipcore.analysis.calibrated_rates import rates_misfit
from ipcore.analysis.coordinate_check import sizes_at
from ipcore.analysis.predicted_drift import predicted_drift
from ipcore.catalogue import OPTIMIZERS
from ipcore.studies.subjects import Setting, Subject
from ipcore.theory.derived_alignment import derived_alignment


@dataclass(frozen=True, slots=True)
class Band:
    """A prediction: low .. high.

    Attributes:
        low: None: no lower bound.
        high: None: no upper bound.
        why: Why there is no prediction, or only a bound; "".
    """

    low: Fraction | None
    high: Fraction | None
    why: str = ""

    @classmethod
    def point(cls, value: Fraction) -> Band:
        """One number."""
        return cls(value, value)

    @classmethod
    def silent(cls, why: str) -> Band:
        """No prediction."""
        return cls(None, None, why)

    @property
    def known(self) -> bool:
        """Whether there is a prediction to compare with."""
        return self.low is not None or self.high is not None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            low, high = theory.format_exponent(self.low), theory.format_exponent(self.high)
            return low if low == high else f"{low} .. {high}"
        if self.high is not None:
            return f"at most {theory.format_exponent(self.high)}"
        return "nothing" if self.low is None else f"at least {theory.format_exponent(self.low)}"


def analyze(subject: Subject, setting: Setting) -> theory.Analysis | str:
    """The analysis of a subject, or why there is none."""
    return _analyze(subject.exponents, subject.activation, setting)


@functools.lru_cache(maxsize=512)
def _analyze(exponents: theory.Parameterization, activation: str, setting: Setting) -> theory.Analysis | str:
    if setting.not_covered:
        return f"theory does not cover it: {setting.not_covered}"
    known = OPTIMIZERS.get(setting.optimizer)
    has_d = all(phase.d is not None for phase in exponents.phases)
    epsilon = "negligible" if known is not None and known.has_epsilon and has_d else None
    try:
        return theory.analyze(
            exponents,
            optimizer=setting.optimizer,
            activation=activation,
            loss=setting.loss,
            epsilon=epsilon,
            block_matrices=setting.block_matrices,
            normalization=setting.normalization,
        )
    except theory.TheoryError as error:
        return f"theory does not cover it: {error.text}"


def initial_size(analysis: theory.Analysis | str, layer: int) -> Band:
    """The exponent of mean |h^l| at step 0; layer L+1 is f."""
    return _size(analysis, layer, 0)


def change(analysis: theory.Analysis | str, layer: int, step: int) -> Band:
    """The exponent of mean |h_t^l - h_0^l|; layer L+1 is f."""
    return _size(analysis, layer, step)


def _size(analysis: theory.Analysis | str, layer: int, step: int) -> Band:
    if isinstance(analysis, str):
        return Band.silent(analysis)
    sizes = sizes_at(analysis, step)
    rows = (*sizes.h_change, sizes.f_change) if step else (*sizes.h, sizes.f)
    size = rows[layer - 1]
    if size is None:
        return Band.silent("theory says exactly zero, which has no slope")
    return Band.point(size) if sizes.exact else Band(None, size, "theory has an upper bound only")


def isolated_update(analysis: theory.Analysis | str, layer: int, step: int, *, bias: bool = False) -> Band:
    """The exponent of mean |dh^l| by one update of matrix l (or its biases) alone, at the rates of step t.

    The update starts from the weights of step 0.

    Args:
        analysis: Analysis of the subject.
        layer: l, 1..L+1.
        step: t, updates done before the one whose rates are used.
        bias: Whether the layer's bias is meant rather than its matrix.
    """
    if isinstance(analysis, str):
        return Band.silent(analysis)
    if analysis.block_matrices:
        return Band.silent("theory makes no prediction for isolated updates in residual blocks")
    found = theory.isolated_changes(analysis, step)
    row = found.by_bias if bias else found.by_matrix
    size = row[layer - 1] if layer <= len(row) else None
    if size is None:
        return Band.silent("the update is exactly zero, which has no slope")
    if not found.exact:
        return Band(None, size, "the output grows, so that its derivative is only bounded")
    return Band.point(size)


def drift(analysis: theory.Analysis | str, *, calibrated: bool) -> Band:
    """Drift of the best base rate, octaves per doubling: [delta*, delta_c]."""
    if isinstance(analysis, str):
        return Band.silent(analysis)
    found = predicted_drift(analysis, calibrated=calibrated)
    return Band.silent(found) if isinstance(found, str) else Band(found.low, found.high)


def calibrated_rate(analysis: theory.Analysis | str, layer: int) -> Band:
    """The power of m with which the calibrated first rate of matrix l grows: its alignment's deficit."""
    if isinstance(analysis, str):
        return Band.silent(analysis)
    if text := rates_misfit(analysis):
        return Band.silent(text)
    deficits = {entry.layer: entry.deficit for entry in analysis.alignment}
    if layer not in deficits:
        return Band.silent("theory makes no prediction of the alignment of this layer")
    return Band.point(deficits[layer])


def alignment(analysis: theory.Analysis | str, layer: int, step: int) -> Band:
    """The exponent theta of the alignment of updates of matrix l, 2..L+1, with their inputs."""
    if isinstance(analysis, str):
        return Band.silent(analysis)
    bounds = derived_alignment(analysis, [step]).get(step)
    found = None if bounds is None else bounds.forward[layer - 2]
    if found is None:
        return Band.silent("theory makes no prediction of the alignment at this step")
    low, high = found
    return Band(low, high)


def moved(exponents: theory.Parameterization, name: str, layer: int, by: Fraction) -> theory.Parameterization:
    """The parameterization with one exponent moved.

    Args:
        exponents: Exponents of the subject.
        name: "a", "b" or "c" (at all steps).
        layer: 1..L+1; 0: all.
        by: Amount that is added.
    """

    def row(entries: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple(e + by if layer in (0, i) else e for i, e in enumerate(entries, start=1))

    if name == "c":
        phases = tuple(replace(phase, c=row(phase.c)) for phase in exponents.phases)
        return replace(exponents, phases=phases)
    if name == "a":
        return replace(exponents, a=row(exponents.a))
    return replace(exponents, b=row(exponents.b))
