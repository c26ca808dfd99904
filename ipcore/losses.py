"""Losses: values per example and the derivative with respect to the logits, without autograd.

Names are those of `ipcore.catalogue.LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of logits and labels.

    Attributes:
        values: (logits (..., n, C), labels (..., n)) -> loss of each example (..., n), in nats.
        value_and_derivative: (logits (K, n, C), labels (K, n), out (K, n, C)) writes the derivative of the
            *summed* loss into out and returns the summed loss of each of the K runs, shape (K,). The 1/n of
            the mean belongs to the rate.
        check_labels: (labels, classes) raises `ConfigError` for labels that do not fit.
    """

    values: Callable[[Tensor, Tensor], Tensor]
    value_and_derivative: Callable[[Tensor, Tensor, Tensor], Tensor]
    check_labels: Callable[[npt.NDArray[np.generic], int], None]


def _cross_entropy_values(logits: Tensor, labels: Tensor) -> Tensor:
    picked = torch.log_softmax(logits, dim=-1).gather(-1, labels.unsqueeze(-1))
    return picked.squeeze(-1).neg_()


def _cross_entropy_step(logits: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    # loss = logsumexp(z) - z_y,  derivative = softmax(z) - onehot(y); shifted by the maximum, so finite
    # logits never overflow.
    index = labels.unsqueeze(-1)
    torch.sub(logits, logits.amax(dim=-1, keepdim=True), out=out)
    picked = out.gather(-1, index)
    total = out.exp_().sum(dim=-1, keepdim=True)
    loss = total.log().sub_(picked).sum(dim=(-2, -1))
    out.div_(total)
    out.scatter_add_(-1, index, torch.full_like(picked, -1.0))
    return loss


def _check_classes(labels: npt.NDArray[np.generic], classes: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError([f"cross_entropy needs integer class labels, not {labels.dtype}"])
    if classes < 2:
        raise ConfigError([f"cross_entropy needs at least 2 classes; the dataset has {classes}"])
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ConfigError([f"labels lie in {labels.min()}..{labels.max()}, not in 0..{classes - 1}"])


LOSSES: Final[dict[str, Loss]] = {
    "cross_entropy": Loss(_cross_entropy_values, _cross_entropy_step, _check_classes),
}
