"""What is known of activations without torch: their names, initial variances, what training must keep.

"relu^p" is ReLU to the power p, a rational number >= 1 ("relu^2", "relu^3/2").
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from ipcore.errors import ConfigError, unknown
from ipcore.theory import TheoryError
from ipcore.theory.activation import activation

# Slope of leaky ReLU below 0.
LEAKY_SLOPE: Final = 0.01
# s^2 of the initial weights that keeps activations Theta(1). ReLU, GELU, ELU, tanh: the code published with
# arXiv:2110.15596. All others: 1 / E[phi(z)^2], z ~ N(0, 1), which keeps the mean square of h from layer to
# layer (He et al., arXiv:1502.01852).
ACTIVATION_VARIANCE: Final[dict[str, float]] = {
    "relu": 2.0,
    "leaky_relu": 2.0 / (1.0 + LEAKY_SLOPE**2),
    "gelu": 4.0,
    "elu": 1.0,
    "tanh": 1.0,
    "sigmoid": 3.4086,
    "identity": 1.0,
    "silu": 2.8108,
    "softplus": 1.0855,
    "erf": 2.1526,
    "abs": 1.0,
    "sin": 2.3130,
}
# Their derivative needs the preactivation, not the value alone (`ipcore.models.activations`).
_KEEPS_PREACTIVATION: Final = frozenset({"gelu", "silu", "softplus", "erf", "abs", "sin"})


def relu_power(name: str) -> Fraction | None:
    """The p of "relu^p"; None for every other name.

    Raises:
        ConfigError: A power that is no rational number >= 1.

    >>> relu_power("relu^3/2"), relu_power("tanh")
    (Fraction(3, 2), None)
    """
    if not name.startswith("relu^"):
        return None
    try:
        return activation(name).degree
    except TheoryError as error:
        raise ConfigError([f"activation: {error}"]) from None


def check_activation(name: str) -> None:
    """Refuse what is no activation.

    Raises:
        ConfigError: With the nearest name and all that there are.
    """
    if relu_power(name) is None and name not in ACTIVATION_VARIANCE:
        raise ConfigError([f"activation: {unknown('activation', name, [*ACTIVATION_VARIANCE, 'relu^p'])}"])


def activation_variance(name: str) -> float:
    """s^2 of the initial weights.

    For relu^p it is 1 / E[max(z, 0)^{2p}] = sqrt(pi) / (2^{p-1} Gamma(p + 1/2)), a moment of the normal
    distribution.

    Raises:
        ConfigError: No such activation.

    >>> activation_variance("relu"), round(activation_variance("relu^2"), 4)
    (2.0, 0.6667)
    """
    check_activation(name)
    power = relu_power(name)
    if power is None:
        return ACTIVATION_VARIANCE[name]
    p = float(power)
    return math.exp(math.log(math.pi) / 2 - (p - 1) * math.log(2) - math.lgamma(p + 0.5))


def keeps_preactivation(name: str) -> bool:
    """Whether training keeps h beside x = phi(h), for the derivative."""
    power = relu_power(name)
    return name in _KEEPS_PREACTIVATION or (power is not None and power != 1)
