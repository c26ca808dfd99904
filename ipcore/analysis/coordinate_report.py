"""The report of a coordinate check: its rows, verdict and conclusion."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.analysis.slopes import Slope
from ipcore.analysis.verdicts import Verdict
from ipcore.theory import Analysis, format_exponent

# A sum of terms of several orders in the rate: the leading one in m may be small at the widths measured.
_HIDDEN: Final = (
    "it is smaller than predicted, and a small base rate can hide the leading term at these widths"
)


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One size against its exponent.

    Attributes:
        quantity: "h" (at step 0) or "h_change" (after that, against step 0).
        layer: 1..L; L+1 is the output f.
        step: Updates done.
        name: "h^3", "change of f".
        predicted: The exponent.
        exact: Whether theory gives the exact exponent; False: an upper bound.
        tolerance: Largest difference that still agrees.
        fit: The measured slope.
        verdict: Verdict at the measured widths.
        sentence: The finding in one sentence.
        why: The reason for the verdict; "" where the numbers suffice.
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
    """Prediction for a step at the measured widths, where the limit does not show yet.

    Attributes:
        analysis: The analysis that holds there.
        other: An analysis that may hold instead; None if only the first may.
        why: Why both may hold.
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
        gaps: Number of sizes that could not be checked, or not at all widths and seeds.
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
        """Disagrees if any size does; agrees if all exact predictions do and nothing is missing.

        "Not yet" if some exponents do not show yet and all others agree. At least one exact prediction must
        be for a state after an update: initial sizes do not depend on rates. Values may be missing because
        runs diverged, so the remaining ones would be a favourable selection.
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
            return "nothing could be compared with theory"
        hidden = sum(c.verdict is Verdict.NOT_YET for c in self.coordinates)
        counts = {
            "cannot show yet at these widths (by the measured parts of their changes)": hidden,
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
        """The number of seeds that would decide half of the sizes that seeds can decide; "" if unknown."""
        undecided = [c for c in self.coordinates if c.verdict is Verdict.UNDECIDED]
        seeds = sorted(c.needed for c in undecided if c.needed)
        if seeds:
            enough = seeds[(len(seeds) - 1) // 2]
            decided = sum(needed <= enough for needed in seeds)
            return f"; about {enough} seeds would decide {decided} of the {len(undecided)} undecided ones" + (
                ", larger widths more" if decided < len(undecided) else ""
            )
        return "; larger widths would decide more" if any(c.needed == 0 for c in undecided) else ""


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
        f"(tolerance {tolerance:g}), {fit.data}"
    )
    return f"{text}; {why}" if why else text


def without_prediction(what: str, fit: Slope) -> str:
    """Numbers in one sentence where theory has none."""
    return f"{what}: slope {fit.slope}, no prediction, {fit.data}"
