"""Coordinate check: sizes of preactivations and their changes, layer by layer, against the exponent calculus.

The sizes at initialization and their changes after 1, 2, 3, ... updates tell parameterizations apart (Yang &
Hu, arXiv:2011.14522, section 3; the check as a tool: Yang et al., arXiv:2203.03466, appendix D.1). What is
held against them is the *intended* parameterization, so an implementation or a table of exponents that is
wrong in one layer is caught there: at step 0 a forward pass meets the wrong layer first, and an update with a
wrong rate shows first in its own layer. Hence the first disagreement, by step and then by layer, names the
layer. Exponents that cannot show at the widths measured are told apart by the parts of the changes
(`ipcore.analysis.finite_width`), where those were measured.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from ipcore.analysis.finite_width import FiniteWidth, finite_width
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import TOLERANCE, Judgement, Verdict, judge
from ipcore.errors import AnalysisError
from ipcore.theory import Analysis, Parameterization, Regime, StepSizes, format_exponent

# Outputs are few, so their sizes vary more over seeds than those of hidden layers.
READOUT_TOLERANCE: Final = 2 * TOLERANCE
# A sum of terms of several orders in the rate: the leading one in m may be small at the widths measured.
_HIDDEN: Final = (
    "it is smaller than predicted, and a small base rate can hide the leading term at these widths"
)

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
        why: Why the verdict is no other; "" where the numbers alone say it.
        expected: The slope that the parts of the change give at these widths; None where they are not known.
        needed: As in `Judgement`.
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
    why: str = ""
    expected: float | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What theory says of a step at the widths measured, where that is not its limit.

    Attributes:
        analysis: What holds there.
        other: What may hold there as well; None if only the first may.
        why: Why both may, in words.
    """

    analysis: Analysis
    other: Analysis | None = None
    why: str = ""


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

        "Not yet" if some of it does not show yet and all else agrees. Something that theory stands for must
        have been measured after an update: initial sizes say nothing of rates. What is missing may be missing
        because runs diverged, so the rest would flatter.
        """
        exact = [c for c in self.coordinates if c.exact]
        if self.first is not None:
            return Verdict.DISAGREES
        verdicts = {c.verdict for c in exact}
        if self.gaps or not verdicts <= {Verdict.AGREES, Verdict.NOT_YET} or all(c.step == 0 for c in exact):
            return Verdict.UNDECIDED
        return Verdict.NOT_YET if Verdict.NOT_YET in verdicts else Verdict.AGREES

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
        hidden = sum(c.verdict is Verdict.NOT_YET for c in self.coordinates)
        counts = {
            "not yet, as the parts of their changes say": hidden,
            "undecided": total - agreeing - hidden,
        }
        rest = "".join(f", {count} {words}" for words, count in counts.items() if count)
        rest += ", none disagrees" if rest else ""
        rest += self._remedy
        if self.gaps:
            rest += f"; {self.gaps} could not be checked, or not at all widths and seeds"
        elif all(c.step == 0 for c in self.coordinates):
            rest += "; nothing was checked after an update"
        return f"{agreeing} of {total} sizes agree{rest}"

    @property
    def _remedy(self) -> str:
        """What would decide at least half of what seeds can decide; "" where nothing is known to."""
        undecided = [c for c in self.coordinates if c.verdict is Verdict.UNDECIDED]
        seeds = sorted(c.needed for c in undecided if c.needed)
        if seeds:
            enough = seeds[(len(seeds) - 1) // 2]
            decided = sum(needed <= enough for needed in seeds)
            return f"; about {enough} seeds would decide {decided} of the {len(undecided)} undecided ones" + (
                ", larger widths more" if decided < len(undecided) else ""
            )
        return "; larger widths would decide more" if any(c.needed == 0 for c in undecided) else ""


def check_coordinates(
    measured: Mapping[Key, Samples],
    analysis: Analysis,
    *,
    tolerance: float = TOLERANCE,
    readout_tolerance: float = READOUT_TOLERANCE,
    predictions: Mapping[int, Prediction] = MappingProxyType({}),
    steps: Collection[int] | None = None,
) -> CoordinateReport:
    """Hold measured sizes against an analysis of the intended parameterization.

    Args:
        measured: Mean |h| at step 0 and mean |h_t - h_0| at later steps. Runs that have no value belong there
            as NaN: what is missing keeps the whole from agreeing. With the parts of the changes
            ("change_below", "change_own", as the probe records them) a change may be "not yet". Others are
            ignored.
        analysis: Of the parameterization as intended, with the optimizer, activation and loss of the runs,
            and at least as many steps as were measured.
        tolerance: For hidden layers.
        readout_tolerance: For the output.
        predictions: By step, where something else than `analysis` holds at the widths measured
            (`ipcore.analysis.epsilon`).
        steps: Which are checked; what was measured at others may tell what is expected. None: all.

    Raises:
        AnalysisError: A layer that the parameterization has not.
    """
    layers = analysis.parameterization.hidden_layers
    numbers = sum(_checked(key, steps) for key in measured)
    found: list[Coordinate] = []
    notes: list[str] = []
    gaps = 0

    @functools.cache
    def at_these_widths(step: int) -> FiniteWidth | None:
        return finite_width(measured, predictions.get(step, Prediction(analysis)).analysis, step)

    for (quantity, layer, step), samples in sorted(measured.items(), key=_by_step):
        if not 1 <= layer <= layers + 1:
            raise AnalysisError(
                f"layer {layer} does not exist: layers are 1 .. {layers + 1}, the last the output"
            )
        if not _checked((quantity, layer, step), steps):
            continue
        prediction = predictions.get(step, Prediction(analysis))
        sizes = sizes_at(prediction.analysis, step)
        readout = layer == layers + 1
        predicted = _predicted(sizes, quantity, layer)
        name = "f" if readout else f"h^{layer}"
        name = name if quantity == "h" else f"change of {name}"
        if predicted is None:
            notes.append(f"{name} at step {step}: theory says exactly zero, which has no slope")
            gaps += bool(samples.values.any())
            continue
        try:
            fit = fit_slope(samples)
        except AnalysisError as error:
            notes.append(f"{name} at step {step}: {error}")
            gaps += 1
            continue
        if missing := samples.gaps():
            notes.append(f"{name} at step {step}: {missing}")
            gaps += 1
        allowed = readout_tolerance if readout else tolerance
        judged = judge(
            fit,
            predicted,
            tolerance=allowed,
            upper_bound=not sizes.exact,
            one_term=step == 0 and _one_term(analysis.parameterization),
            numbers=numbers,
        )
        if judged.hidden and step > 0:
            judged = replace(judged, why=_HIDDEN)
        parts = at_these_widths(step) if step > 0 and sizes.exact else None
        if parts is not None and judged.verdict is not Verdict.AGREES:
            judged = parts.judge(judged, samples.measured(), layer, tolerance=allowed, numbers=numbers)
        judged = _doubted(judged, prediction, predicted, (quantity, layer, step))
        sentence = sentence_of(
            f"{name} at step {step}", fit, predicted, allowed, judged.verdict, judged.why, sizes.exact
        )
        found.append(
            Coordinate(
                quantity,
                layer,
                step,
                name,
                predicted,
                sizes.exact,
                allowed,
                fit,
                judged.verdict,
                sentence,
                judged.why,
                None if parts is None else parts.slope(layer),
                judged.needed,
            )
        )
    return CoordinateReport(tuple(found), tuple(notes), gaps)


def _checked(key: Key, steps: Collection[int] | None) -> bool:
    """Whether it is a size at step 0, or a change at a step that is wanted."""
    quantity, _, step = key
    return (quantity == "h_change" if step else quantity == "h") and (steps is None or step in steps)


def _predicted(sizes: StepSizes, quantity: str, layer: int) -> Fraction | None:
    rows = (*sizes.h, sizes.f) if quantity == "h" else (*sizes.h_change, sizes.f_change)
    return rows[layer - 1]


def _doubted(judged: Judgement, prediction: Prediction, predicted: Fraction, key: Key) -> Judgement:
    """Undecided where two predictions may hold and differ."""
    quantity, layer, step = key
    if prediction.other is None:
        return judged
    other = _predicted(sizes_at(prediction.other, step), quantity, layer)
    if other == predicted:
        return judged
    return Judgement(Verdict.UNDECIDED, f"{prediction.why}: between {predicted} and {other}")


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
