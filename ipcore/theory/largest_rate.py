"""The largest stable base rate as a function of the width.

With c - delta in all layers and phases, delta* is the largest delta at which nothing grows and delta_c the
largest at which at most the output does (controlled divergence, which losses with bounded derivatives
survive). A base rate of order m^{delta*} is the largest stable one, so the best base rate moves by delta*
octaves per doubling of the width, or by something in [delta*, delta_c]. 0 for muP; -1 and -1/2 for standard
parameterization. [ours, docs/theory.md, section 4]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.analysis import Analysis, check_analysis
from ipcore.theory.coverage import MAX_ANALYSIS_LAYERS, checked_setting
from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.exponents import power
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.growth import Network, calibrated_rates
from ipcore.theory.normalization import NONE
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rate_search import counts_often, largest_bounded
from ipcore.theory.rules import Rules, rules
from ipcore.theory.trajectory import Trajectory, layer_alignment, trajectory
from ipcore.theory.written import Written

MAX_ITERATED_LAYERS: Final = 100
MAX_POWER_LAYERS: Final = 200  # of powers of ReLU, where a call takes two seconds
# As part of an analysis, which has to be quick: in general, and where answers have as many digits as layers.
MAX_SHOWN_LAYERS: Final = 200
MAX_SHOWN_MANIFOLD: Final = 40
_LONG: Final = 24


@dataclass(frozen=True, slots=True)
class LargestRate(Written):
    """Exponents of the largest stable base rate in the width.

    Attributes:
        stable: delta*: base rates up to order m^{delta*} are stable. None: none is.
        controlled: delta_c >= delta*: up to here at most the output grows, and the loss has bounded
            derivatives. Equal to delta* with mse. None: some hidden layer grows at every base rate, or
            (`only_output`) at none.
        exact: Whether both are exact. False: stable up to here for certain, and perhaps beyond.
        only_output: Preactivations are normalized and the loss has bounded derivatives: at larger rates,
            however large, only the output grows.
    """

    stable: Fraction | None
    controlled: Fraction | None
    exact: bool
    only_output: bool = False

    @property
    def summary(self) -> str:
        """One sentence."""
        if self.stable is None and self.controlled is None and not self.only_output:
            return "no base rate is stable"
        if self.stable is None:
            return f"no base rate is stable; {self._controlled}"
        moves = "does not depend on the width"
        if self.stable != 0:
            verb = "grows" if self.stable > 0 else "falls"
            moves = f"{verb} like {_power(self.stable)}"
        text = f"the largest stable base rate {moves}"
        if not self.exact:
            text += ", or is larger: alignment, or what has not settled, leaves it open"
        return text if self.controlled == self.stable else f"{text}; {self._controlled}"

    @property
    def _controlled(self) -> str:
        if self.only_output:
            return (
                "above it only the output grows, however large the rate (controlled divergence, which "
                "training survives with this loss)"
            )
        return (
            f"up to order {_power(self.controlled)} only the output grows, which training survives with this "
            "loss (controlled divergence)"
        )

    def __str__(self) -> str:
        return self.summary

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts, null: no base rate."""
        return {
            "stable": None if self.stable is None else str(self.stable),
            "controlled": None if self.controlled is None else str(self.controlled),
            "exact": self.exact,
            "only_output": self.only_output,
            "summary": self.summary,
        }


def _power(exponent: Fraction | None) -> str:
    """A power of m; exponents too long to read are rounded."""
    if exponent is None or len(str(exponent)) <= _LONG:
        return power(exponent)
    return f"m^({float(exponent):.6g}..)"


def largest_stable_rate(
    parameterization: Parameterization,
    *,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    calibrated: bool = False,
    epsilon: str | Sequence[str] | None = None,
    alignment: str | Alignment | None = None,
    block_matrices: int = 0,
    normalization: str = NONE,
) -> LargestRate:
    """How the largest stable base rate of a parameterization moves with the width.

    Found by Newton's method from a base rate that is too large, exact where sizes are convex in delta, and by
    bisection beside it; the result is certified: stable there, and not above it.

    Args:
        parameterization: With at most 1,000 hidden layers; with powers of ReLU at most 200; with biases of
            their own, a mean, re-weighted matrices, given alignment, residual blocks or normalization at
            most 100.
        optimizer: Key of `OPTIMIZERS`.
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`.
        calibrated: Whether the first rates of layers 2..L+1 are measured, so that every first update there
            adds order 1 whatever the base rate.
        epsilon: As in `analyze`.
        alignment: As in `analyze`, but one alignment, not two bounds.
        block_matrices: As in `analyze`; the depth is fixed.
        normalization: As in `analyze`; not together with `calibrated`.

    Raises:
        TheoryError: No parameterization, unknown names, too many layers, what `analyze` does not cover, two
            bounds on alignment, or calibrated rates where the first update is not aligned with its input,
            biases have exponents of their own, alignment is given, there are residual blocks or
            preactivations are normalized.

    >>> from ipcore.theory.presets import preset
    >>> found = largest_stable_rate(preset("sp", 3))
    >>> str(found.stable), str(found.controlled)
    ('-1', '-1/2')
    """
    if not isinstance(parameterization, Parameterization):
        raise TheoryError(f"must be a Parameterization, not {shown(parameterization)}", "parameterization")
    p, found = parameterization, rules(optimizer, activation, loss)
    setting, assumed = checked_setting(p, found, optimizer, epsilon, alignment, block_matrices, normalization)
    if len(assumed) > 1:
        raise TheoryError("must be one of them, not two bounds; ask for each of the bounds", "alignment")
    _check(p, setting, calibrated)
    if calibrated:
        p = calibrated_rates(p, setting)
    stable, certain = largest_bounded(Network(p, setting, output=True, calibrated=calibrated))
    if setting.loss == "mse":
        return LargestRate(stable, stable, certain)
    if setting.normalized:
        return LargestRate(stable, None, certain, only_output=True)
    controlled, also = largest_bounded(Network(p, setting, output=False, calibrated=calibrated))
    return LargestRate(stable, controlled, certain and also)


def largest_rate_of(analysis: Analysis, *, calibrated: bool = False) -> LargestRate | str:
    """The largest stable base rate of an analysis, or why it is not given.

    Args:
        analysis: With at most 200 hidden layers, 40 with sigmoid, softplus or powers of ReLU; beyond, call
            `largest_stable_rate`.
        calibrated: As in `largest_stable_rate`.

    Returns:
        The rate, or a sentence that says why it is not given.

    Raises:
        TheoryError: No analysis.
    """
    p = check_analysis(analysis).parameterization
    if len(analysis.assumed) > 1:
        return "the largest stable base rate is not given for two bounds on alignment; ask for each of them"
    manifold = counts_often(rules(analysis.optimizer, analysis.activation, analysis.loss))
    most = MAX_SHOWN_MANIFOLD if manifold else MAX_SHOWN_LAYERS
    if p.hidden_layers > most:
        kind = f" with {analysis.activation}" if manifold else ""
        return f"the largest stable base rate is given for at most {most} hidden layers{kind}"
    try:
        return largest_stable_rate(
            p,
            optimizer=analysis.optimizer,
            activation=analysis.activation,
            loss=analysis.loss,
            calibrated=calibrated,
            epsilon=analysis.epsilon or None,
            alignment=analysis.assumed[0] if analysis.assumed else None,
            block_matrices=analysis.block_matrices,
            normalization=analysis.normalization,
        )
    except TheoryError as error:
        return f"the largest stable base rate is not given: {error.text}"


def _check(p: Parameterization, setting: Rules, calibrated: bool) -> None:
    if not isinstance(calibrated, bool):
        raise TheoryError(f"must be True or False, not {shown(calibrated)}", "calibrated")
    iterated = not Network(p, setting, output=True).by_factors
    most, kind = MAX_ANALYSIS_LAYERS, ""
    if iterated:
        most, kind = (
            MAX_ITERATED_LAYERS,
            " with biases of their own, a mean, re-weighted matrices, given alignment, residual blocks or "
            "normalized preactivations",
        )
    elif setting.activation.degree != 1:
        most, kind = MAX_POWER_LAYERS, f" with {setting.activation.name}"
    if p.hidden_layers > most:
        raise TheoryError(
            f"the largest stable rate is found for at most {most} hidden layers{kind}, not {p.hidden_layers}",
            "hidden_layers",
        )
    if calibrated:
        if setting.normalized:
            raise TheoryError(
                "not covered: calibrated rates with normalized preactivations: calibration makes every first "
                "update of order 1, whatever the size of the preactivation that it is added to",
                "calibrated",
            )
        if setting.alignment is not None or setting.block_matrices:
            kind = "residual blocks" if setting.block_matrices else "alignment that is given"
            raise TheoryError(f"not covered: calibrated rates with {kind}", "calibrated")
        if p.biases is not None:
            raise TheoryError("not covered: calibrated rates and biases of their own", "calibrated")
        if p.a[0] + p.b[0] > 0:
            raise TheoryError(
                "not covered: calibrated rates where h^1 vanishes at initialization: they depend on how far "
                "the first layer moves",
                "calibrated",
            )
        linear = setting.activation.kind == "linear"
        if linear and not all(layer.aligned for layer in layer_alignment(_first_steps(p, setting))):
            raise TheoryError(
                f"not covered: calibrated rates with {setting.activation.name}, whose first updates are not "
                "aligned with their inputs; covered are activations with a kink at 0 (relu)",
                "calibrated",
            )


def _first_steps(p: Parameterization, setting: Rules) -> Trajectory:
    return trajectory(replace(p, phases=p.phases[:1]), setting, aligned=True, steps=1)
