"""Activations of a pack: in place forward, in place backward, without autograd.

Names are those of `ipcore.catalogue.ACTIVATIONS`. ReLU, ELU and tanh have a derivative that is a function of
their value, so only the value is kept; GELU (the exact one, x Phi(x)) needs the preactivation too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

_aten: Final = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation phi as operations on preallocated buffers.

    Attributes:
        apply: x = phi(h) as a new tensor; any shape.
        forward: (h, x) writes phi(h) into x; x may be h unless `keeps_preactivation`.
        backward: (dx, h, x) multiplies dx by phi'(h) in place.
        keeps_preactivation: Whether `backward` reads h, so that h and x need buffers of their own.
    """

    apply: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor], object]
    keeps_preactivation: bool = False


def _relu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.threshold_backward.grad_input(dx, x, 0, grad_input=dx)


def _tanh_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.tanh_backward.grad_input(dx, x, grad_input=dx)


def _elu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    # alpha, scale, input_scale = 1; is_result: x is phi(h).
    _aten.elu_backward.grad_input(dx, 1, 1, 1, True, x, grad_input=dx)


def _gelu_backward(dx: Tensor, h: Tensor, x: Tensor) -> None:
    _aten.gelu_backward.grad_input(dx, h, approximate="none", grad_input=dx)


ACTIVATIONS: Final[dict[str, Activation]] = {
    "relu": Activation(torch.relu, lambda h, x: torch.clamp(h, min=0, out=x), _relu_backward),
    "gelu": Activation(
        functional.gelu, lambda h, x: _aten.gelu.out(h, out=x), _gelu_backward, keeps_preactivation=True
    ),
    "elu": Activation(functional.elu, lambda h, x: _aten.elu.out(h, out=x), _elu_backward),
    "tanh": Activation(torch.tanh, lambda h, x: torch.tanh(h, out=x), _tanh_backward),
}
