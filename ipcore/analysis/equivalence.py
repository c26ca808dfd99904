"""Whether two parameterizations have the same limit: distance of their paired runs against the width.

Paired runs have the same normals and the same batches, so two descriptions of one infinite-width limit come
together as the width grows (HP and IP-LLR for 1-homogeneous activations, say), and others do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import Trend, trend
from ipcore.words import counted


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Distance against width.

    Attributes:
        fit: Slope of the log distance.
        trend: Whether it falls at these widths, which does not prove the limit.
        sentence: The finding in one sentence.
    """

    fit: Slope
    trend: Trend
    sentence: str


def compare_pairs(distances: Samples, names: tuple[str, str]) -> Equivalence:
    """Whether the distance of paired runs falls with the width.

    Args:
        distances: > 0, by width and seed, of any quantity (relative distances of outputs, losses).
        names: Names of the two parameterizations.

    Raises:
        AnalysisError: As `Samples.measured` and `fit_slope`; a distance of exactly 0 has no slope.
    """
    fit = fit_slope(distances)
    found, why = trend(fit)
    said = "is undecided: it may fall or not" if found is Trend.UNDECIDED else found.value
    sentence = (
        f"distance of {names[0]} and {names[1]} {said}: slope {fit.slope}, from {fit.means[0]:.3g} at width "
        f"{fit.widths[0]} to {fit.means[-1]:.3g} at width {fit.widths[-1]}, {counted(fit.seeds, 'seed')}"
    )
    return Equivalence(fit, found, f"{sentence}; {why}" if why else sentence)
