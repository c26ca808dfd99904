"""Losses: values per example and the derivative with respect to the outputs, without autograd.

The entries of `ipcore.catalogue.losses` name these objects. Each is a mean over examples of

    cross_entropy   logsumexp(f) - f_label           C outputs
    mse             |f - y|^2 / 2                    k outputs, targets y; or C outputs, y = onehot(label)
    logistic        log(1 + exp(-y f))               1 output, 2 classes, y = 2 label - 1
    exponential     exp(-y f)                        1 output, 2 classes, y = 2 label - 1

Labels are classes (int64, one per example) or real targets (floating point, k per example).

Values and derivatives are accurate over the whole range of the outputs: to a few units in the last place (of
mse: of its largest term), and infinite only where a value exceeds the number format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore import catalogue
from ipcore.catalogue.entries import implementation
from ipcore.errors import ConfigError
from ipcore.models.activations import softplus


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of outputs and labels.

    Attributes:
        values: (outputs (..., n, C), labels (..., n) or (..., n, k)) -> loss of each example (..., n), in
            nats where it is a likelihood.
        value_and_derivative: (outputs (K, n, C), labels, out (K, n, C)) writes the derivative of the *summed*
            loss into out and returns the summed loss of each of the K runs, shape (K,), infinite where the
            sum exceeds the number format. The 1/n of the mean belongs to the rate.
        check_labels: (labels, classes) raises `ConfigError` for labels that do not fit.
    """

    values: Callable[[Tensor, Tensor], Tensor]
    value_and_derivative: Callable[[Tensor, Tensor, Tensor], Tensor]
    check_labels: Callable[[npt.NDArray[np.generic], int], None]


def correct(outputs: Tensor, labels: Tensor) -> Tensor:
    """Which examples are classified correctly: by the largest output, or by the sign of the only one.

    Args:
        outputs: (..., n, C).
        labels: Classes, broadcastable to (..., n).

    Returns:
        (..., n), boolean. Of equal outputs the first wins, and a single output of exactly 0 is class 0. An
        example with a NaN output is classified wrongly.
    """
    if outputs.shape[-1] == 1:
        found = (outputs.squeeze(-1) > 0) == (labels > 0)
    else:
        found = outputs.argmax(dim=-1) == labels
    # A row's maximum is NaN if any of its outputs is.
    return found & ~outputs.amax(dim=-1).isnan()


def _cross_entropy_values(logits: Tensor, labels: Tensor) -> Tensor:
    loss, *_ = _cross_entropy(torch.empty_like(logits), logits, labels.unsqueeze(-1))
    return loss.squeeze(-1)


def _cross_entropy_step(logits: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    # derivative = softmax(z) - onehot(y), at the label minus the sum of the others.
    index = labels.unsqueeze(-1)
    loss, others, total = _cross_entropy(out, logits, index)
    out.scatter_(-1, index, -others).div_(total)
    return loss.sum(dim=(-2, -1))


def _cross_entropy(out: Tensor, logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and the parts of its softmax, without cancellation near a loss of 0.

    With z shifted by its maximum, so that finite logits never overflow, and S = sum_{c != y} exp(z_c),

        loss = log(S + exp(z_y)) - z_y = log1p(S + expm1(z_y)) - z_y

    where z_y = 0 for a rightly classified example: then log1p(S).

    Args:
        out: Where exp(z_c) is left for all classes but the label, and 0 for it; shape (..., n, C).
        logits: As large.
        index: Labels, (..., n, 1).

    Returns:
        Loss, S and S + exp(z_y), of the shape of `index`.
    """
    torch.sub(logits, logits.amax(dim=-1, keepdim=True), out=out)
    picked = out.gather(-1, index)
    others = out.exp_().scatter_(-1, index, 0.0).sum(dim=-1, keepdim=True)
    loss = picked.expm1().add_(others).log1p_().sub_(picked)
    return loss, others, picked.exp_().add_(others)


def _errors(outputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    """Write f - y into out."""
    if labels.is_floating_point():
        return torch.sub(outputs, labels, out=out)
    index = labels.unsqueeze(-1)
    return out.copy_(outputs).scatter_add_(-1, index, out.new_full((), -1.0).expand(index.shape))


def _half_square(errors: Tensor) -> Tensor:
    # Halved first, which is exact: the square may exceed the number format where its half does not.
    return torch.mul(errors, 0.5).mul_(errors)


def _mse_values(outputs: Tensor, labels: Tensor) -> Tensor:
    return _half_square(_errors(outputs, labels, torch.empty_like(outputs))).sum(dim=-1)


def _mse_step(outputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    return _half_square(_errors(outputs, labels, out)).sum(dim=(-2, -1))


def _signs(outputs: Tensor, labels: Tensor) -> Tensor:
    """The signs y = 2 label - 1, (..., n, 1), in the outputs' dtype."""
    return labels.unsqueeze(-1).to(outputs.dtype).mul_(2).sub_(1)


def _logistic_values(outputs: Tensor, labels: Tensor) -> Tensor:
    return softplus(_signs(outputs, labels).mul_(outputs).neg_()).squeeze(-1)


def _logistic_step(outputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    signs = _signs(outputs, labels)
    torch.mul(outputs, signs, out=out).neg_()
    loss = softplus(out).sum(dim=(-2, -1))
    out.sigmoid_().mul_(signs).neg_()
    return loss


def _exponential_values(outputs: Tensor, labels: Tensor) -> Tensor:
    return _signs(outputs, labels).mul_(outputs).neg_().exp_().squeeze(-1)


def _exponential_step(outputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
    signs = _signs(outputs, labels)
    torch.mul(outputs, signs, out=out).neg_().exp_()
    loss = out.sum(dim=(-2, -1))
    out.mul_(signs).neg_()
    return loss


def _check_classes(name: str, labels: npt.NDArray[np.generic], classes: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ConfigError([f"loss: {name} needs one integer class per example, not {_shape(labels)}"])
    if classes < 2:
        raise ConfigError([f"loss: {name} needs at least 2 classes; the dataset has {classes}"])
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ConfigError([f"labels lie in {labels.min()}..{labels.max()}, not in 0..{classes - 1}"])


def _check_cross_entropy(labels: npt.NDArray[np.generic], classes: int) -> None:
    _check_classes("cross_entropy", labels, classes)


def _check_mse(labels: npt.NDArray[np.generic], classes: int) -> None:
    if classes:
        _check_classes("mse", labels, classes)
    elif not np.issubdtype(labels.dtype, np.floating) or labels.ndim != 2 or not labels.shape[1]:
        raise ConfigError([f"loss: mse needs targets of shape (n, k >= 1), not {_shape(labels)}"])
    elif not np.isfinite(labels).all():
        raise ConfigError(["labels: targets must be finite"])


def _check_two(name: str) -> Callable[[npt.NDArray[np.generic], int], None]:
    def check(labels: npt.NDArray[np.generic], classes: int) -> None:
        _check_classes(name, labels, classes)
        if classes != 2:
            raise ConfigError(
                [f"loss: {name} needs exactly 2 classes, not {classes}; use cross_entropy or mse"]
            )

    return check


def _shape(labels: npt.NDArray[np.generic]) -> str:
    return f"{labels.dtype} of shape {labels.shape}"


CROSS_ENTROPY: Final = Loss(_cross_entropy_values, _cross_entropy_step, _check_cross_entropy)
MSE: Final = Loss(_mse_values, _mse_step, _check_mse)
LOGISTIC: Final = Loss(_logistic_values, _logistic_step, _check_two("logistic"))
EXPONENTIAL: Final = Loss(_exponential_values, _exponential_step, _check_two("exponential"))

LOSSES: Final[dict[str, Loss]] = {
    name: implementation(entry.implementation) for name, entry in catalogue.LOSSES.items()
}
