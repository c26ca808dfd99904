"""Normalization by the root mean square over the neurons, and its derivative, on tensors.

With r = 1 / rms(h) = sqrt(m) / |h| for the m neurons of an example (arXiv:1910.07467, without gains and
without an epsilon, which would be larger than preactivations that vanish with the width):

    y = r h,        dh = r (dy - y (y . dy) / m)

Where h = 0, r is taken to be 0: y and dh are 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def forward(h: Tensor, y: Tensor, r: Tensor) -> None:
    """Write y and r.

    Args:
        h: (.., m).
        y: As h.
        r: (.., 1).
    """
    torch.linalg.vector_norm(h, dim=-1, keepdim=True, out=r)
    r.reciprocal_().mul_(math.sqrt(h.shape[-1])).nan_to_num_(nan=math.nan, posinf=0.0)
    torch.mul(h, r, out=y)


def backward(dy: Tensor, y: Tensor, r: Tensor, products: Tensor, mean: Tensor) -> None:
    """Turn dy into dh.

    Args:
        dy: (.., m); overwritten.
        y: As `forward` wrote it.
        r: Likewise.
        products: Buffer of the shape of y.
        mean: Buffer of the shape of r.
    """
    torch.mul(dy, y, out=products)
    torch.mean(products, dim=-1, keepdim=True, out=mean)
    dy.addcmul_(y, mean, value=-1.0).mul_(r)


def normalized(h: Tensor) -> Tensor:
    """The y of h as a new tensor, bit for bit as training computes it; autograd can differentiate it."""
    y: Tensor = _Normalized.apply(h)  # type: ignore[no-untyped-call]
    return y


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        y, r = torch.empty_like(h), h.new_empty(*h.shape[:-1], 1)
        forward(h, y, r)
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y, r = ctx.saved_tensors
        # A copy: a gradient may be handed to several operations.
        dh = gradients[0].clone()
        backward(dh, y, r, torch.empty_like(y), torch.empty_like(r))
        return dh
