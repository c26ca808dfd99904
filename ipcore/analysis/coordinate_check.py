"""Coordinate check: sizes of preactivations and their changes, layer by layer, against the exponent calculus.

The sizes at initialization and their changes after 1, 2, 3, ... updates tell parameterizations apart (Yang &
Hu, arXiv:2011.14522, section 3; the check as a tool: Yang et al., arXiv:2203.03466, appendix D.1). What is
held against them is the *intended* parameterization, so an implementation or a table of exponents that is
wrong in one layer is caught there: at step 0 a forward pass meets the wrong layer first, and an update with a
wrong rate shows first in its own layer. Hence the first disagreement, by step and then by layer, names the
layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import TOLERANCE, Verdict, judge
from ipcore.errors import AnalysisError
from ipcore.theory import Analysis, Parameterization, Regime, StepSizes, format_exponent

# Outputs are few, so their sizes vary more over seeds than those of hidden layers.
READOUT_TOLERANCE: Final = 2 * TOLERANCE
# A sum of terms of several orders in the rate: the leading one in m may be small at the widths measured.
_HIDDEN: Final = "a small base rate can hide the leading term at these widths"

Key = tuple[str, int, int]
"""(quantity "h" or "h_change", layer 1..L+1, step)."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One size against its exponent.

    Attributes:
        quantity: "h" (at step 0) or "h_change" (after that, against step 0).
        layer: 1..L; L+1 is the output f.
        step: Updates done.
        name: "h^3", "change of f".
        predicted: The exponent.
        exact: Whether theory stands for it; False: an upper bound.
        tolerance: Of the verdict.
        fit: What was measured.
        verdict: At these widths.
        sentence: All of it in words.
    """

    quantity: str
    layer: int
    step: int
    name: str
    predicted: Fraction
    exact: bool
    tolerance: float
    fit: Slope
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class CoordinateReport:
    """All coordinates of one parameterization.

    Attributes:
        coordinates: By step, then by layer.
        notes: What could not be checked, and why.
        gaps: Sizes that could not be checked, or not at all widths and seeds.
    """

    coordinates: tuple[Coordinate, ...]
    notes: tuple[str, ...]
    gaps: int = 0

    @property
    def first(self) -> Coordinate | None:
        """The earliest step, and there the lowest layer, that disagrees: where to look for the mistake."""
        return next((c for c in self.coordinates if c.verdict is Verdict.DISAGREES), None)

    @property
    def verdict(self) -> Verdict:
        """Disagrees if anything does; agrees if all that theory stands for does, and nothing is missing.

        Something that theory stands for must have been measured after an update: initial sizes say nothing of
        rates. What is missing may be missing because runs diverged, so the rest would flatter.
        """
        exact = [c for c in self.coordinates if c.exact]
        if self.first is not None:
            return Verdict.DISAGREES
        shown = all(c.verdict is Verdict.AGREES for c in exact) and any(c.step > 0 for c in exact)
        return Verdict.AGREES if shown and not self.gaps else Verdict.UNDECIDED

    @property
    def conclusion(self) -> str:
        """One line."""
        if (first := self.first) is not None:
            layer = "the output" if first.name.endswith("f") else f"layer {first.layer}"
            return (
                f"{layer} disagrees from step {first.step}: slope {first.fit.slope}, "
                f"predicted {format_exponent(first.predicted)}"
            )
        agreeing = sum(c.verdict is Verdict.AGREES for c in self.coordinates)
        total = len(self.coordinates)
        if not total:
            return "nothing could be checked"
        rest = "" if agreeing == total else f", {total - agreeing} undecided, none disagrees"
        if self.gaps:
            rest += f"; {self.gaps} could not be checked, or not at all widths and seeds"
        elif all(c.step == 0 for c in self.coordinates):
            rest += "; nothing was checked after an update"
        return f"{agreeing} of {total} sizes agree{rest}"


def check_coordinates(
    measured: Mapping[Key, Samples],
    analysis: Analysis,
    *,
    tolerance: float = TOLERANCE,
    readout_tolerance: float = READOUT_TOLERANCE,
) -> CoordinateReport:
    """Hold measured sizes against an analysis of the intended parameterization.

    Args:
        measured: Mean |h| at step 0 and mean |h_t - h_0| at later steps. Others are ignored. Runs that have
            no value belong there as NaN: what is missing keeps the whole from agreeing.
        analysis: Of the parameterization as intended, with the optimizer, activation and loss of the runs,
            and at least as many steps as were measured.
        tolerance: For hidden layers.
        readout_tolerance: For the output.

    Raises:
        AnalysisError: A layer that the parameterization has not.
    """
    layers = analysis.parameterization.hidden_layers
    found, notes, gaps = [], [], 0
    for (quantity, layer, step), samples in sorted(measured.items(), key=_by_step):
        if not 1 <= layer <= layers + 1:
            raise AnalysisError(
                f"layer {layer} does not exist: layers are 1 .. {layers + 1}, the last the output"
            )
        if quantity not in {"h", "h_change"} or (quantity == "h") != (step == 0):
            continue
        sizes = sizes_at(analysis, step)
        readout = layer == layers + 1
        if quantity == "h":
            predicted = sizes.f if readout else sizes.h[layer - 1]
        else:
            predicted = sizes.f_change if readout else sizes.h_change[layer - 1]
        name = "f" if readout else f"h^{layer}"
        name = name if quantity == "h" else f"change of {name}"
        if predicted is None:
            notes.append(f"{name} at step {step}: theory says exactly zero, which has no slope")
            gaps += bool(samples.values.any())
            continue
        try:
            paired = samples.paired()
            fit = fit_slope(paired)
        except AnalysisError as error:
            notes.append(f"{name} at step {step}: {error}")
            gaps += 1
            continue
        if left_out := samples.left_out(paired):
            notes.append(f"{name} at step {step}: {left_out}")
            gaps += 1
        allowed = readout_tolerance if readout else tolerance
        judged = judge(
            fit,
            predicted,
            tolerance=allowed,
            upper_bound=not sizes.exact,
            one_term=step == 0 and _one_term(analysis.parameterization),
        )
        why = judged.why
        if judged.verdict is Verdict.DISAGREES and step > 0 and fit.slope.value < predicted:
            why = _HIDDEN
        sentence = sentence_of(
            f"{name} at step {step}", fit, predicted, allowed, judged.verdict, why, sizes.exact
        )
        found.append(
            Coordinate(
                quantity, layer, step, name, predicted, sizes.exact, allowed, fit, judged.verdict, sentence
            )
        )
    return CoordinateReport(tuple(found), tuple(notes), gaps)


def _one_term(p: Parameterization) -> bool:
    """Whether h_0^l is one product of order m^{-(a+b)}: no bias of its own, no mean beside the spread."""
    return p.biases is None and p.mean is None


def _by_step(item: tuple[Key, Samples]) -> tuple[int, int]:
    (_, layer, step), _ = item
    return step, layer


def sizes_at(analysis: Analysis, step: int) -> StepSizes:
    """Sizes after `step` updates; a step left out is as the one before.

    Beyond the last step they stand only if the exponents have settled without anything growing.
    """
    sizes = next(sizes for sizes in reversed(analysis.steps) if sizes.step <= step)
    known = step <= analysis.steps[-1].step
    lasting = analysis.settled and analysis.regime is not Regime.UNSTABLE
    return sizes if known or lasting else replace(sizes, exact=False)


def sentence_of(
    what: str,
    fit: Slope,
    predicted: Fraction,
    tolerance: float,
    verdict: Verdict,
    why: str = "",
    exact: bool = True,
) -> str:
    """Verdict and numbers in one sentence."""
    bound = "" if exact else "at most "
    text = (
        f"{what} {verdict}: slope {fit.slope}, predicted {bound}{format_exponent(predicted)} "
        f"(tolerance {tolerance:g}), widths {fit.widths[0]}..{fit.widths[-1]}, {counted(fit.seeds, 'seed')}"
    )
    return f"{text}; {why}" if why else text


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "seed"), counted(2, "seed")
    ('1 seed', '2 seeds')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")
