"""Activations: properties that are known without torch.

"relu^p" is ReLU to the power p, a rational number >= 1 ("relu^2", "relu^3/2").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Final, Literal

from ipcore.catalogue.entries import table
from ipcore.errors import ConfigError, unknown

# Slope of leaky ReLU below 0.
LEAKY_SLOPE: Final = 0.01
# Spelling of powers of ReLU in lists of names.
POWERS: Final = "relu^p"
_POWER: Final = re.compile(r"relu\^(\d{1,3})(?:/(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Local type and growth of an activation phi: its rule in the exponent calculus.

    Attributes:
        kind: Near 0: "aligned", alpha h_+ - beta h_- with alpha != beta, or its p-th power, so that x has a
            mean; "linear", phi(h) ~ phi'(0) h, x is as centred as h; "offset", phi(0) != 0, x has a mean of
            order 1.
        degree: p of a p-homogeneous activation (kind "aligned"), else 1.
        bounded: |phi| stays bounded.
        odd: phi(-h) = -phi(h).
        nonlinear: phi' is not constant.
    """

    kind: Literal["aligned", "linear", "offset"]
    degree: Fraction = Fraction(1)
    bounded: bool = False
    odd: bool = False
    nonlinear: bool = True


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation phi.

    Attributes:
        name: Name in specs.
        description: One line.
        variance: s^2 of the initial weights that keeps activations Theta(1). ReLU, GELU, ELU, tanh: the code
            published with arXiv:2110.15596. All others: 1 / E[phi(z)^2], z ~ N(0, 1), which keeps the mean
            square of h from layer to layer (He et al., arXiv:1502.01852).
        behaviour: Rule of theory; None: theory does not cover it.
        implementation: Object of type `ipcore.models.activations.Activation`, as "module:name"; of a power
            a function of p.
        keeps_preactivation: phi' is not a function of phi(h) alone, so training keeps both h and phi(h).
    """

    name: str
    description: str
    variance: float
    behaviour: Behaviour | None
    implementation: str
    keeps_preactivation: bool = False


_TORCH: Final = "ipcore.models.activations"
# Besides these there is "relu^p" for every rational p >= 1 (`find_activation`).
ACTIVATIONS: Final[Mapping[str, Activation]] = table(
    (
        Activation("relu", "max(h, 0)", 2.0, Behaviour("aligned"), f"{_TORCH}:RELU"),
        Activation(
            "leaky_relu",
            f"h above 0, {LEAKY_SLOPE} h below",
            2.0 / (1.0 + LEAKY_SLOPE**2),
            Behaviour("aligned"),
            f"{_TORCH}:LEAKY_RELU",
        ),
        Activation(
            "gelu",
            "h Phi(h), Phi the normal distribution",
            4.0,
            Behaviour("linear"),
            f"{_TORCH}:GELU",
            keeps_preactivation=True,
        ),
        Activation("elu", "h above 0, e^h - 1 below", 1.0, Behaviour("linear"), f"{_TORCH}:ELU"),
        Activation(
            "tanh", "hyperbolic tangent", 1.0, Behaviour("linear", bounded=True, odd=True), f"{_TORCH}:TANH"
        ),
        Activation(
            "sigmoid", "1 / (1 + e^-h)", 3.4086, Behaviour("offset", bounded=True), f"{_TORCH}:SIGMOID"
        ),
        Activation(
            "identity",
            "h: a linear network",
            1.0,
            Behaviour("linear", odd=True, nonlinear=False),
            f"{_TORCH}:IDENTITY",
        ),
        Activation(
            "silu", "h / (1 + e^-h)", 2.8108, Behaviour("linear"), f"{_TORCH}:SILU", keeps_preactivation=True
        ),
        Activation(
            "softplus",
            "log(1 + e^h)",
            1.0855,
            Behaviour("offset"),
            f"{_TORCH}:SOFTPLUS",
            keeps_preactivation=True,
        ),
        Activation(
            "erf",
            "error function",
            2.1526,
            Behaviour("linear", bounded=True, odd=True),
            f"{_TORCH}:ERF",
            keeps_preactivation=True,
        ),
        Activation("abs", "|h|", 1.0, Behaviour("aligned"), f"{_TORCH}:ABS", keeps_preactivation=True),
        Activation("sin", "sine", 2.3130, None, f"{_TORCH}:SIN", keeps_preactivation=True),
    )
)


def relu_power(name: str) -> Fraction | None:
    """The p of "relu^p"; None for every other name, including malformed powers.

    Raises:
        ConfigError: A power below 1, or with denominator 0.

    >>> relu_power("relu^3/2"), relu_power("tanh")
    (Fraction(3, 2), None)
    """
    found = _POWER.fullmatch(name)
    if found is None:
        return None
    numerator, denominator = int(found[1]), int(found[2] or 1)
    if denominator == 0:
        raise ConfigError([f"activation: {name!r} has denominator 0"])
    power = Fraction(numerator, denominator)
    if power < 1:
        raise ConfigError([f"activation: {name!r}: p must be at least 1 (phi' is infinite at 0 below)"])
    return power


@cache
def find_activation(name: str) -> Activation:
    """An activation by its name; powers of ReLU are included.

    s^2 of relu^p is 1 / E[max(z, 0)^{2p}] = sqrt(pi) / (2^{p-1} Gamma(p + 1/2)), a moment of the normal
    distribution.

    Raises:
        ConfigError: Unknown name; the message has the nearest name and lists all names.

    >>> find_activation("relu").variance, round(find_activation("relu^2").variance, 4)
    (2.0, 0.6667)
    """
    power = relu_power(name)
    if power is None:
        if name not in ACTIVATIONS:
            raise ConfigError([f"activation: {unknown('activation', name, [*ACTIVATIONS, POWERS])}"])
        return ACTIVATIONS[name]
    p = float(power)
    return Activation(
        name,
        f"max(h, 0)^{power}",
        math.exp(math.log(math.pi) / 2 - (p - 1) * math.log(2) - math.lgamma(p + 0.5)),
        Behaviour("aligned", power),
        f"{_TORCH}:relu_to" if power != 1 else ACTIVATIONS["relu"].implementation,
        keeps_preactivation=power != 1,
    )
