"""From exponents to numbers: one per run and layer. Standard library only.

The pack stores and trains the *effective* weights W^l = m^{-a_l} w^l. From h^l = W^l x^{l-1} follows
dw^l = m^{-a_l} dW^l, so the step w^l <- w^l - eta m^{-c_l} dw^l is

    W^l <- W^l - eta m^{-c_l - 2 a_l} dW^l,        W^l at step 0 ~ N(0, s_l^2 m^{-2(a_l + b_l)}).

This is the shift (a, b, c) -> (a + t, b - t, c - 2t) with t = -a of Yang & Hu (arXiv:2011.14522, section on
symmetries of abc-parameterizations): forward and backward need no multiplier, and numbers such as m^{4} and
m^{-2} meet as exponents (exact) and in double precision before any 32-bit number sees them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from ipcore.catalogue import find_activation
from ipcore.errors import ConfigError
from ipcore.models.model import Role
from ipcore.theory import Parameterization

# mu: weights with a mean have mean mu m^{-mean_l}.
INITIAL_MEAN: Final = 1.0


def power(width: int, exponent: Fraction) -> float:
    """m^exponent in double precision.

    Raises:
        ConfigError: Too large for a double.
    """
    try:
        return math.pow(width, float(exponent))
    except OverflowError:
        raise ConfigError([f"{width}^({exponent}) is too large for any number format"]) from None


def scaled(factor: float, width: int, exponent: Fraction) -> float:
    """A factor times m^exponent in double precision, >= 0; infinite if too large for a double.

    >>> scaled(0.5, 4, Fraction(3, 2)), scaled(1.0, 4, Fraction(600))
    (4.0, inf)
    """
    try:
        return factor * power(width, exponent)
    except ConfigError:
        return math.inf


def biased_layers(parameterization: Parameterization, bias: str) -> int:
    """Layers of a network with a bias, counted from the first: all L+1 if biases have exponents of their own.

    Args:
        parameterization: Exponents.
        bias: "first" or "none": whether the first layer has one that shares its exponents.
    """
    if parameterization.biases is not None:
        return parameterization.hidden_layers + 1
    return 1 if bias == "first" else 0


def role_constants(activation: str, fan_in: int) -> dict[Role, float]:
    """Width-free factors s of the initial standard deviations, by the role of a matrix.

    s^2 is the activation's `variance` in the catalogue. Hidden matrices have s, the input matrix
    s/sqrt(fan_in) and the readout 1, as in the code published with arXiv:2110.15596.

    Args:
        activation: Name.
        fan_in: Inputs of the input matrix: d, or d + 1 with a bias, which counts as an input.
    """
    s = math.sqrt(find_activation(activation).variance)
    return {Role.INPUT: s / math.sqrt(fan_in), Role.HIDDEN: s, Role.READOUT: 1.0}


def initial_stds(
    parameterization: Parameterization,
    width: int,
    activation: str,
    roles: Sequence[Role],
    input_dim: int,
    bias: str,
) -> tuple[float, ...]:
    """Standard deviations s_l m^{-(a_l + b_l)} of the effective weights at step 0, l = 1..L+1.

    Args:
        parameterization: Exponents.
        width: m.
        activation: Name.
        roles: Roles of the matrices, in the order of the layers.
        input_dim: d.
        bias: As for `biased_layers`.
    """
    biased = biased_layers(parameterization, bias) > 0
    constants = role_constants(activation, input_dim + biased)
    return tuple(
        constants[role] * power(width, -(a + b))
        for role, a, b in zip(roles, parameterization.a, parameterization.b, strict=True)
    )


def initial_means(parameterization: Parameterization, width: int) -> tuple[float, ...]:
    """Means mu m^{-(a_l + mean_l)} of the effective weights at step 0, l = 1..L+1; 0 where centred.

    mu is `INITIAL_MEAN`, as in the code published with arXiv:2110.15596.
    """
    exponents = parameterization.mean or (None,) * len(parameterization.a)
    return tuple(
        0.0 if mean is None else INITIAL_MEAN * power(width, -(a + mean))
        for a, mean in zip(parameterization.a, exponents, strict=True)
    )


def initial_bias_stds(
    parameterization: Parameterization, width: int, activation: str, roles: Sequence[Role], bias: str
) -> tuple[float, ...]:
    """Standard deviations of the effective biases at step 0, one per biased layer.

    A first bias that shares its layer's exponents has s m^{-(a_1 + b_1)}. Biases with their own have
    s m^{-(a + b)} with those, and 1 instead of s at the readout (code of arXiv:2110.15596).

    Args:
        parameterization: Exponents.
        width: m.
        activation: Name.
        roles: Roles of the matrices whose outputs the biases are added to, in the order of the layers.
        bias: As for `biased_layers`.
    """
    s = math.sqrt(find_activation(activation).variance)
    own = parameterization.biases
    if own is None:
        shared = s * power(width, -(parameterization.a[0] + parameterization.b[0]))
        return (shared,) * biased_layers(parameterization, bias)
    constants = (1.0 if role is Role.READOUT else s for role in roles)
    return tuple(c * power(width, -(a + b)) for c, a, b in zip(constants, own.a, own.b, strict=True))


def rate_factors(
    parameterization: Parameterization, width: int, step: int, *, entrywise: bool = False
) -> tuple[float, ...]:
    """Factors m^{-c_l(step) - 2 a_l} of the base rate for effective weights, l = 1..L+1.

    Args:
        parameterization: Exponents.
        width: m.
        step: Updates done before the one that uses them, >= 0.
        entrywise: Adam, whose updates do not shrink with the gradient: m^{-c_l(step) - a_l}.
    """
    return _factors(parameterization.a, parameterization.c_at(step), width, entrywise)


def bias_rate_factors(
    parameterization: Parameterization, width: int, step: int, bias: str, *, entrywise: bool = False
) -> tuple[float, ...]:
    """As `rate_factors` for the biases of all L+1 layers; 0 where this network has none."""
    own = parameterization.biases
    if own is not None:
        return _factors(own.a, own.phase_at(step).c, width, entrywise)
    first = rate_factors(parameterization, width, step, entrywise=entrywise)[0]
    biased = biased_layers(parameterization, bias)
    return (*[first] * biased, *[0.0] * (len(parameterization.a) - biased))


def _factors(a: Sequence[Fraction], c: Sequence[Fraction], width: int, entrywise: bool) -> tuple[float, ...]:
    times = 1 if entrywise else 2
    return tuple(power(width, -rate - times * entry) for entry, rate in zip(a, c, strict=True))


def multipliers(parameterization: Parameterization, width: int) -> tuple[float, ...]:
    """Layer multipliers m^{-a_l}, l = 1..L+1."""
    return tuple(power(width, -a) for a in parameterization.a)


def bias_exponents(parameterization: Parameterization) -> tuple[Fraction, ...]:
    """Exponents a of biases, L+1 entries; those of the weights where biases share their exponents."""
    return parameterization.a if parameterization.biases is None else parameterization.biases.a


def bias_multipliers(parameterization: Parameterization, width: int) -> tuple[float, ...]:
    """Multipliers m^{-a_l} of biases, L+1 entries."""
    return tuple(power(width, -a) for a in bias_exponents(parameterization))


def remainders(parameterization: Parameterization, width: int, step: int) -> tuple[float, ...]:
    """Factors m^{-k_l(step)} of the initial weights at a state, l = 1..L+1; 0 where they are removed."""
    return tuple(0.0 if k is None else power(width, -k) for k in parameterization.k_at(step))
