"""What exponents become in the computation: one number per run and layer. Standard library only.

The pack stores and trains the *effective* weights W^l = m^{-a_l} w^l. From h^l = W^l x^{l-1} follows
dw^l = m^{-a_l} dW^l, so the step w^l <- w^l - eta m^{-c_l} dw^l is

    W^l <- W^l - eta m^{-c_l - 2 a_l} dW^l,        W^l at step 0 ~ N(0, s_l^2 m^{-2(a_l + b_l)}).

This is the shift (a, b, c) -> (a + t, b - t, c - 2t) with t = -a of Yang & Hu (arXiv:2011.14522, section on
symmetries of abc-parameterizations): forward and backward need no multiplier, and numbers such as m^{4} and
m^{-2} meet as exponents (exact) and in double precision before any 32-bit number sees them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from ipcore.catalogue import ACTIVATION_VARIANCE
from ipcore.errors import ConfigError
from ipcore.theory import Parameterization


def power(width: int, exponent: Fraction) -> float:
    """m^exponent in double precision.

    Raises:
        ConfigError: Too large for a double.
    """
    try:
        return math.pow(width, float(exponent))
    except OverflowError:
        raise ConfigError([f"{width}^({exponent}) is too large for any number format"]) from None


# Multipliers, initial sizes and rates in this range are 32-bit numbers of full precision, and so are their
# products with normals and with the constants of `layer_constants` (IEEE 754 binary32: 1.2e-38 .. 3.4e38).
SMALLEST_SCALE: Final = 1e-36
LARGEST_SCALE: Final = 1e36


def scaled(factor: float, width: int, exponent: Fraction) -> float:
    """A factor times m^exponent in double precision, >= 0; infinite if too large for a double.

    >>> scaled(0.5, 4, Fraction(3, 2)), scaled(1.0, 4, Fraction(600))
    (4.0, inf)
    """
    try:
        return factor * power(width, exponent)
    except ConfigError:
        return math.inf


def fits(scale: float) -> bool:
    """Whether a positive scale can be trained with in 32-bit numbers.

    >>> fits(1e30), fits(1e-40), fits(math.inf)
    (True, False, False)
    """
    return SMALLEST_SCALE <= scale <= LARGEST_SCALE


def layer_constants(activation: str, hidden_layers: int, input_dim: int, bias: str) -> tuple[float, ...]:
    """Width-free factors s_l of the initial standard deviations, l = 1..L+1.

    s^2 is `ACTIVATION_VARIANCE`; the first layer has s/sqrt(d+1) (its bias counts as an input; s/sqrt(d)
    without a bias) and the last layer 1, as in the code published with arXiv:2110.15596. A first bias has s.
    """
    s = math.sqrt(ACTIVATION_VARIANCE[activation])
    fan_in = input_dim + (1 if bias == "first" else 0)
    return (s / math.sqrt(fan_in), *[s] * (hidden_layers - 1), 1.0)


def initial_stds(
    parameterization: Parameterization, width: int, activation: str, input_dim: int, bias: str
) -> tuple[float, ...]:
    """Standard deviations s_l m^{-(a_l + b_l)} of the effective weights at step 0, l = 1..L+1."""
    constants = layer_constants(activation, parameterization.hidden_layers, input_dim, bias)
    return tuple(
        s * power(width, -(a + b))
        for s, a, b in zip(constants, parameterization.a, parameterization.b, strict=True)
    )


def initial_bias_std(parameterization: Parameterization, width: int, activation: str) -> float:
    """Standard deviation s m^{-(a_1 + b_1)} of the first layer's effective bias at step 0."""
    s = math.sqrt(ACTIVATION_VARIANCE[activation])
    return s * power(width, -(parameterization.a[0] + parameterization.b[0]))


def rate_factors(parameterization: Parameterization, width: int, step: int) -> tuple[float, ...]:
    """Factors m^{-c_l(step) - 2 a_l} of the base rate for effective weights, l = 1..L+1.

    Args:
        parameterization: Exponents.
        width: m.
        step: Updates done before the one that uses them, >= 0.
    """
    return tuple(
        power(width, -c - 2 * a) for a, c in zip(parameterization.a, parameterization.c_at(step), strict=True)
    )


def multipliers(parameterization: Parameterization, width: int) -> tuple[float, ...]:
    """Layer multipliers m^{-a_l}, l = 1..L+1."""
    return tuple(power(width, -a) for a in parameterization.a)
