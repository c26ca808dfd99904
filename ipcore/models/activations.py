"""Activations of a pack: in place forward, in place backward, without autograd.

The entries of `ipcore.catalogue.activations` name these objects. Where the derivative is a function of the
value (ReLU, leaky ReLU, ELU, tanh, sigmoid, identity) only the value is kept; the others need the
preactivation too (GELU is the exact one, x Phi(x)).

Values and derivatives are right to a few units in the last place of max(1, |value|) wherever they can be
held, as torch's own are. One exception: GELU in single precision overflows from half the largest number
(1.7e38).

On the CPU tanh and sine are numpy's: one thread of its vector code is faster than many of torch's, which
calls MKL (measured with AVX-512: tanh 0.12 ns a number, torch 1.9), and as exact (2 units in the last place).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ipcore import catalogue
from ipcore.catalogue.activations import LEAKY_SLOPE, find_activation, relu_power
from ipcore.catalogue.entries import implementation

_aten: Final = torch.ops.aten
# From here on log(1 + e^h) is h to the last bit in every number format, and e^h still far below the largest
# single. (torch's own threshold, 20, costs 2e-9 in double precision.)
_LINEAR_FROM: Final = 80.0


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation phi as operations on preallocated buffers.

    Attributes:
        apply: x = phi(h) as a new tensor; any shape.
        forward: (h, x) writes phi(h) into x; x may be h where nothing reads h afterwards.
        backward: (dx, h, x) multiplies dx by phi'(h) in place.
        keeps_preactivation: Whether `backward` reads h, so that h and x need buffers of their own;
            `activation` sets what the catalogue says.
    """

    apply: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor], object]
    keeps_preactivation: bool = False


@cache
def activation(name: str) -> Activation:
    """An activation by its name; "relu^p" is ReLU to a rational power p >= 1.

    Raises:
        ConfigError: No such activation.
    """
    entry = find_activation(name)
    found = implementation(entry.implementation)
    phi: Activation = found if isinstance(found, Activation) else found(relu_power(name))
    return replace(phi, keeps_preactivation=entry.keeps_preactivation)


def softplus(h: Tensor) -> Tensor:
    """log(1 + e^h) as a new tensor, without overflow, to the precision of its number format."""
    return functional.softplus(h, threshold=_LINEAR_FROM)


def _relu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.threshold_backward.grad_input(dx, x, 0, grad_input=dx)


def _leaky_relu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    # True: x is phi(h), which has the sign of h.
    _aten.leaky_relu_backward.grad_input(dx, x, LEAKY_SLOPE, True, grad_input=dx)


def _tanh_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.tanh_backward.grad_input(dx, x, grad_input=dx)


def _sigmoid_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.sigmoid_backward.grad_input(dx, x, grad_input=dx)


def _elu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    # alpha, scale, input_scale = 1; is_result: x is phi(h).
    _aten.elu_backward.grad_input(dx, 1, 1, 1, True, x, grad_input=dx)


def _gelu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.gelu_backward.grad_input(dx, h, approximate="none", grad_input=dx)


def _silu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.silu_backward.grad_input(dx, h, grad_input=dx)


def _softplus_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    dx.mul_(h.sigmoid())


def _erf_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    dx.mul_(h.square().neg_().exp_().mul_(2 / math.sqrt(math.pi)))


def _abs_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    dx.mul_(h.sign())


def _sin_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    dx.mul_(h.cos())


def _on_cpu(
    ufunc: np.ufunc, otherwise: Callable[[Tensor, Tensor], object]
) -> Callable[[Tensor, Tensor], object]:
    """A forward by numpy where numpy knows the numbers, else by torch."""

    def forward(h: Tensor, x: Tensor) -> None:
        if h.is_cpu and h.dtype in (torch.float32, torch.float64):
            with np.errstate(invalid="ignore"):  # infinite where a run diverges, as torch has it: NaN
                ufunc(h.numpy(), out=x.numpy())
        else:
            otherwise(h, x)

    return forward


def _identity_forward(h: Tensor, x: Tensor) -> None:
    if x.data_ptr() != h.data_ptr():
        x.copy_(h)


def _identity_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    """Nothing to do: phi' = 1."""


def relu_to(power: Fraction) -> Activation:
    """max(h, 0)^p, p > 1."""
    p = float(power)

    def backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
        dx.mul_(h.clamp(min=0).pow_(p - 1).mul_(p))

    return Activation(
        lambda h: torch.clamp(h, min=0).pow_(p),
        lambda h, x: torch.clamp(h, min=0, out=x).pow_(p),
        backward,
    )


RELU: Final = Activation(torch.relu, lambda h, x: torch.clamp(h, min=0, out=x), _relu_backward)
LEAKY_RELU: Final = Activation(
    lambda h: functional.leaky_relu(h, LEAKY_SLOPE),
    lambda h, x: _aten.leaky_relu.out(h, LEAKY_SLOPE, out=x),
    _leaky_relu_backward,
)
GELU: Final = Activation(functional.gelu, lambda h, x: _aten.gelu.out(h, out=x), _gelu_backward)
ELU: Final = Activation(functional.elu, lambda h, x: _aten.elu.out(h, out=x), _elu_backward)
TANH: Final = Activation(torch.tanh, _on_cpu(np.tanh, lambda h, x: torch.tanh(h, out=x)), _tanh_backward)
SIGMOID: Final = Activation(torch.sigmoid, lambda h, x: torch.sigmoid(h, out=x), _sigmoid_backward)
IDENTITY: Final = Activation(torch.clone, _identity_forward, _identity_backward)
SILU: Final = Activation(functional.silu, lambda h, x: _aten.silu.out(h, out=x), _silu_backward)
SOFTPLUS: Final = Activation(
    softplus, lambda h, x: _aten.softplus.out(h, threshold=_LINEAR_FROM, out=x), _softplus_backward
)
ERF: Final = Activation(torch.erf, lambda h, x: torch.erf(h, out=x), _erf_backward)
ABS: Final = Activation(torch.abs, lambda h, x: torch.abs(h, out=x), _abs_backward)
SIN: Final = Activation(torch.sin, _on_cpu(np.sin, lambda h, x: torch.sin(h, out=x)), _sin_backward)
ACTIVATIONS: Final[dict[str, Activation]] = {name: activation(name) for name in catalogue.ACTIVATIONS}
