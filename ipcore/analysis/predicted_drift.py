"""Prediction of theory for rate transfer: the drift of the largest stable base rate."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ipcore import theory


@dataclass(frozen=True, slots=True)
class PredictedDrift:
    """Drift of the best rate, in octaves per doubling of the width.

    Attributes:
        low: Drift of the largest rate that is stable, delta*.
        high: Drift of the largest at which no hidden layer grows, delta_c: between them only the output
            grows, which training survives where the loss has bounded derivatives. Equal to `low` otherwise.
    """

    low: Fraction
    high: Fraction

    def __str__(self) -> str:
        low, high = theory.format_exponent(self.low), theory.format_exponent(self.high)
        return low if low == high else f"{low} .. {high}"


def predicted_drift(analysis: theory.Analysis, *, calibrated: bool = False) -> PredictedDrift | str:
    """The drift of the largest stable base rate, or why theory predicts none.

    [ours, docs/theory.md, section 4] Rates that change after step 0 are all multiplied by the base rate.
    Between m^{delta*} and m^{delta_c} training continues under losses with bounded derivatives, so
    the best rate may be anywhere between. A trivial parameterization is trained best far above its own rates,
    where the number of steps decides: no prediction.

    Args:
        analysis: Analysis of what was trained.
        calibrated: Whether its first rates were calibrated; that of layer 1 alone follows the base rate then.

    >>> from ipcore.theory import analyze, preset
    >>> [str(predicted_drift(analyze(preset(name, 3)))) for name in ("mup", "ntk", "sp", "ip-llr")]
    ['0', '0 .. 1/2', '-1 .. -1/2', '0']
    """
    found = theory.largest_rate_of(analysis, calibrated=calibrated)
    if isinstance(found, str):
        return found
    if found.stable is None or found.controlled is None:
        return f"theory makes no prediction: {found.summary}"
    if not found.exact:
        return (
            f"theory makes no prediction: alignment leaves open whether rates above m^({found.stable}) grow"
        )
    if analysis.regime is theory.Regime.TRIVIAL:
        return (
            "theory makes no prediction: at these rates the output does not move; rates up to "
            f"m^({found.stable}) are stable at all steps, and larger ones for a number of steps"
        )
    return PredictedDrift(found.stable, found.controlled)
