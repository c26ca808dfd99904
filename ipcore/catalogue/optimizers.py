"""Optimizers: their settings, their rules in the exponent calculus, what they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from ipcore.catalogue.entries import table
from ipcore.catalogue.settings import AtMostInSingle, Held, Interval, Setting, settings

# A momentum beta is rounded to single precision, which moves 1 - beta by up to 2^-25: 0.8 % here.
_MOST_MOMENTUM: Final = 1 - 2.0**-18
_NEAR_ONE: Final = "single precision does not hold 1 - momentum to a hundredth"


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """A run's settings of the pack's optimizer; those that it does not use are ignored."""

    momentum: Annotated[
        float,
        Interval(0, 1, "[)"),
        AtMostInSingle(_MOST_MOMENTUM, _NEAR_ONE),
        "v <- momentum v + gradient, w <- w - eta m^{-c(t)} v",
    ] = 0.9
    beta1: Annotated[float, Interval(0, 1, "[)"), "decay of the first moment"] = 0.9
    beta2: Annotated[float, Interval(0, 1, "[)"), "decay of the second moment"] = 0.999
    epsilon: Annotated[float, Held(or_zero=True), "scaled per layer as epsilon m^{-d_l}"] = 1e-8
    weight_decay: Annotated[
        float,
        Interval(0),
        "decoupled decay lambda: weights are multiplied by 1 - eta lambda per update, in total however small "
        "that is (`ipcore.engine.decay`); eta lambda is at most 1",
    ] = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What an optimizer keeps per run, besides the weights (`ipcore.planning.memory`).

    Attributes:
        copies: Tensors like all weights.
        gradient: One gradient, as large as the largest matrix.
        numbers: Numbers of the weights' format.
        doubles: Numbers of double precision.
        per_tensor: Numbers for every tensor with exponents.
    """

    copies: int = 0
    gradient: bool = False
    numbers: int = 0
    doubles: int = 0
    per_tensor: int = 0


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer.

    Attributes:
        name: Name in specs.
        description: One line for people.
        implementation: What makes an `ipcore.engine.optimizers.Optimizer`, as "module:name"; "": theory alone
            knows it, nothing trains with it.
        uses: Names in `OptimizerSettings` of the settings that it uses.
        analysed_as: Optimizer whose rule the exponent calculus uses for it: its own name, or another's; "":
            theory does not cover it.
        entrywise: Updates are (nearly) signs of the gradient, whose size is that of the rate: rates are not
            divided by the batch size and meet one multiplier m^{-a}, presets have rates of their own for
            them, first rates are not calibrated.
        accumulates: A velocity holds raw gradients, and rates apply on use.
        kept: What it keeps.
    """

    name: str
    description: str
    implementation: str
    uses: tuple[str, ...]
    analysed_as: str
    entrywise: bool = False
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
_MOMENTS: Final = Kept(copies=2, gradient=True, numbers=5, doubles=2, per_tensor=1)
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
        "sign of the gradient, the limit of Adam; theory alone",
        "",
        (),
        "sign",
        entrywise=True,
    ),
)
KNOWN_OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(_ENTRIES)
# What specs may name.
OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(entry for entry in _ENTRIES if entry.implementation)
# What theory covers.
ANALYSED_OPTIMIZERS: Final[Mapping[str, Optimizer]] = table(entry for entry in _ENTRIES if entry.analysed_as)


def users_of(setting: str) -> list[str]:
    """Optimizers that use a setting.

    >>> users_of("beta1")
    ['adam', 'adamw']
    """
    return [entry.name for entry in OPTIMIZERS.values() if setting in entry.uses]
