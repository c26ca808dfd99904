"""Movement of the feature kernel: linear CKA between a layer's activations now and at step 0.

Kornblith et al. (arXiv:1905.00414, section 3), features X, Y with one example per row and centred columns:

    CKA = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) = <X X^T, Y Y^T> / (||X X^T||_F ||Y Y^T||_F),   0..1

1 means that the kernel between the examples has not moved, up to a factor; rotations of the neurons and
scaling do not count. Computed from the smaller of the two forms, in double precision. Not defined, and left
out, where all examples have the same features up to rounding (a dead or saturated layer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcore.probes.definition import Definition, Quantity, Sizes, Tap

if TYPE_CHECKING:
    from torch import Tensor

# Of the largest feature, in units of its number format.
_ROUNDING: Final = 4


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """CKA of every run's features; NaN where it is not defined.

    Args:
        x: (K, n, p).
        y: (K, n, q).

    Returns:
        (K,) float64.
    """
    X, Y = _centred(x), _centred(y)
    if X.shape[1] <= min(X.shape[2], Y.shape[2]):
        kernel, other = X @ X.mT, Y @ Y.mT
        overlap = (kernel * other).sum(dim=(1, 2))
    else:
        overlap = (Y.mT @ X).square_().sum(dim=(1, 2))
        kernel, other = X.mT @ X, Y.mT @ Y
    return overlap / (_norm(kernel) * _norm(other))


def _centred(features: Tensor) -> Tensor:
    """Columns of mean 0, scaled to a largest entry of 1 so that fourth powers neither vanish nor overflow.

    NaN where nothing but the rounding of the features is left.
    """
    import torch  # noqa: PLC0415 - names of quantities are needed without it

    values = features.double()
    centred = values - values.mean(dim=1, keepdim=True)
    largest = centred.abs().amax(dim=(1, 2), keepdim=True)
    rounding = _ROUNDING * torch.finfo(features.dtype).eps * values.abs().amax(dim=(1, 2), keepdim=True)
    return centred.div_(torch.where(largest > rounding, largest, torch.nan))


def _norm(matrix: Tensor) -> Tensor:
    return matrix.square().sum(dim=(1, 2)).sqrt_()


def _room(sizes: Sizes) -> int:
    """Centred features and kernels at two steps."""
    widest, n = sizes.widest, sizes.examples
    return 40 * widest + 40 * min(n, widest // n) ** 2


KERNELS: Final = Definition(
    (
        Quantity(
            "cka",
            "linear CKA of x_t^l and x_0^l",
            lambda layer: linear_cka(layer.x, layer.x_0),
            (Tap.INITIAL_VALUES,),
            readout=False,
        ),
    ),
    _room,
    lambda sizes: 3.0 * sizes.features,
)
