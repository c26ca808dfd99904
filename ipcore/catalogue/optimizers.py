"""Optimizers: settings, rules in the exponent calculus, and the memory that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final

from ipcore.catalogue.entries import table
from ipcore.catalogue.rules import AtMostInSingle, Held, Interval
from ipcore.catalogue.settings import Setting, settings

# A momentum beta is rounded to single precision, which moves 1 - beta by up to 2^-25: 0.8 % here.
_MOST_MOMENTUM: Final = 1 - 2.0**-18
_NEAR_ONE: Final = "single precision does not hold 1 - momentum to a hundredth"


_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """A run's settings of the pack's optimizer; unused settings are ignored."""

    momentum: Annotated[
        float,
        Interval(0, 1, "[)"),
        AtMostInSingle(_MOST_MOMENTUM, _NEAR_ONE),
        "v <- momentum v + gradient; with momentum itself w <- w - eta m^{-c(t)} v, with others w moves by a "
        "function of v",
    ] = 0.9
    beta1: Annotated[
        float, Interval(0, 1, "[)"), "decay of the first moment; Lion: of that whose sign is taken"
    ] = 0.9
    beta2: Annotated[
        float, Interval(0, 1, "[)"), "decay of the second moment; Lion (paper: 0.99): of the one that is kept"
    ] = 0.999
    epsilon: Annotated[float, Held(or_zero=True), "scaled per layer as epsilon m^{-d_l}"] = 1e-8
    weight_decay: Annotated[
        float,
        Interval(0),
        "decoupled decay lambda: an update multiplies weights, not biases, by 1 - eta lambda (times the "
        "schedule) at any width, lambda_l = lambda m^{c_l}. Decay too small for single precision is "
        "accumulated (`ipcore.engine.decay`); eta lambda is at most 1, over all updates at least 6e-8",
    ] = 0.0
    newton_schulz_steps: Annotated[
        int,
        Interval(1, 16),
        "steps of orthogonalization; 5 bring singular values above 1/600 of the Frobenius norm to "
        "0.68 .. 1.21",
    ] = 5


@dataclass(frozen=True, slots=True)
class Kept:
    """Memory of an optimizer per run, besides the weights (`ipcore.planning.memory`).

    Attributes:
        copies: Number of copies of all weights.
        gradients: Number of gradients of the largest matrix.
        grams: Number of Gram matrices of the largest matrix, on its smaller side.
        numbers: Numbers of the weights' format.
        coefficients: Such numbers for every Newton-Schulz step.
        doubles: Numbers of double precision.
        per_tensor: Numbers for every tensor with exponents.
    """

    copies: int = 0
    gradients: int = 0
    grams: int = 0
    numbers: int = 0
    coefficients: int = 0
    doubles: int = 0
    per_tensor: int = 0


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer.

    Attributes:
        name: Name in specs.
        description: One line.
        implementation: Callable that makes an `ipcore.engine.optimizers.Optimizer`, as "module:name"; "": it
            exists only in theory, nothing trains with it.
        uses: Names in `OptimizerSettings` of the settings that it uses.
        analysed_as: Optimizer whose rule the exponent calculus uses for it: its own name, or another's; "":
            theory does not cover it.
        entrywise: Updates have the size of the rate whatever the gradient's size, as (nearly) signs of it do:
            rates are not divided by the batch size and meet one multiplier m^{-a}, presets have rates of
            their own for them, first rates are not calibrated.
        entries: Exponents in the width of the entries of such an update at rate 1: those of the first matrix,
            of hidden ones, of the readout. Biases of hidden layers have that of the first matrix (a bias is a
            matrix with one input), that of the output 0.
        accumulates: A velocity holds raw gradients, and rates apply on use.
        kept: Memory that it needs.
    """

    name: str
    description: str
    implementation: str
    uses: tuple[str, ...]
    analysed_as: str
    entrywise: bool = False
    entries: tuple[Fraction, Fraction, Fraction] = (_ZERO, _ZERO, _ZERO)
    accumulates: bool = False
    kept: Kept = Kept()

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Its settings with their ranges and defaults, by name."""
        return {name: settings(OptimizerSettings)[name] for name in self.uses}

    @property
    def has_epsilon(self) -> bool:
        """Whether entries of the gradient below epsilon m^{-d_l} count less."""
        return "epsilon" in self.uses


_TORCH: Final = "ipcore.engine.optimizers"
_SIGNS: Final = "ipcore.engine.signs"
_MOMENTS: Final = Kept(copies=2, gradients=1, numbers=5, doubles=2, per_tensor=1)
_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)


def _muon(
    name: str, implementation: str, factor: str, entries: tuple[Fraction, Fraction, Fraction]
) -> Optimizer:
    """Muon with one of the factors in use.

    An orthogonal matrix of n outputs and k inputs of which one grows has entries of order m^{-1/2}. In a
    hidden layer the update of a fixed batch has a bounded rank: entries of order 1/m. The factor comes on
    top. [ours, docs/theory.md]
    """
    return Optimizer(
        name,
        f"momentum, orthogonalized, {factor}; a bias is a matrix with one input",
        f"ipcore.engine.muon:{implementation}",
        ("momentum", "newton_schulz_steps", "weight_decay"),
        name,
        entrywise=True,
        entries=entries,
        kept=Kept(copies=1, gradients=2, grams=2, numbers=1, coefficients=3),
    )


_ENTRIES: Final = (
    Optimizer("sgd", "gradient descent", f"{_TORCH}:descent", ("weight_decay",), "sgd"),
    Optimizer(
        "momentum",
        "gradient descent with momentum; the velocity holds raw gradients, rates apply on use",
        f"{_TORCH}:momentum",
        ("momentum", "weight_decay"),
        "momentum",
        accumulates=True,
        kept=Kept(copies=1, numbers=1),
    ),
    Optimizer(
        "adam",
        "Adam; sign-like where epsilon is small beside the gradient",
        f"{_TORCH}:adam",
        ("beta1", "beta2", "epsilon"),
        "adam",
        entrywise=True,
        kept=_MOMENTS,
    ),
    Optimizer(
        "adamw",
        "Adam with decoupled weight decay, which predictions leave out",
        f"{_TORCH}:adam",
        ("beta1", "beta2", "epsilon", "weight_decay"),
        "adam",
        entrywise=True,
        kept=_MOMENTS,
    ),
    Optimizer(
        "sign",
        "sign of the gradient, the limit of Adam; theory alone (signum without momentum trains so)",
        "",
        (),
        "sign",
        entrywise=True,
    ),
    Optimizer(
        "signum",
        "sign of the velocity (sign-momentum)",
        f"{_SIGNS}:signum",
        ("momentum", "weight_decay"),
        "sign",
        entrywise=True,
        kept=Kept(copies=1, gradients=1, numbers=1),
    ),
    Optimizer(
        "lion",
        "sign of a mean of gradients, which counts the newest more than the mean that is kept",
        f"{_SIGNS}:lion",
        ("beta1", "beta2", "weight_decay"),
        "sign",
        entrywise=True,
        kept=Kept(copies=1, gradients=2, numbers=2),
    ),
    _muon("muon", "muon", "times sqrt(max(1, outputs / inputs))", (_ZERO, -_ONE, -_HALF)),
    _muon("muon-unscaled", "unscaled", "without a factor", (-_HALF, -_ONE, -_HALF)),
    _muon("muon-spectral", "spectral", "times sqrt(outputs / inputs)", (_ZERO, -_ONE, -_ONE)),
    _muon("muon-rms", "rms", "times sqrt(max(inputs, outputs))", (_ZERO, -_HALF, _ZERO)),
)
KNOWN_OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(_ENTRIES)
# Optimizers that specs may name.
OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(entry for entry in _ENTRIES if entry.implementation)
# Optimizers that theory covers.
ANALYSED_OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(entry for entry in _ENTRIES if entry.analysed_as)


def users_of(setting: str) -> list[str]:
    """Optimizers that use a setting.

    >>> users_of("beta1")
    ['adam', 'adamw', 'lion']
    """
    return [entry.name for entry in OPTIMIZERS.values() if setting in entry.uses]
