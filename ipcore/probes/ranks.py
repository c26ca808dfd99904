"""Three estimates of the rank of a matrix, from its singular values s_1 >= s_2 >= ...

As in the notebooks published with Hajjar, Chizat & Giraud (arXiv:2110.15596):

    squared trace rank   (sum s_i^2)^2 / sum s_i^4
    stable rank          sum s_i^2 / s_1^2  =  ||M||_F^2 / ||M||_2^2
    threshold rank       number of s_i^2 > 1e-3 s_1^2

All three are 1 for rank one and n for the identity of size n; stable <= squared trace <= rank. Measured for
W_t^l - W_0^l (as in `ipcore.probes.gradients`) and for x_t^l, the matrix with one example per row, not
centred. Not defined, and left out, for a matrix that is 0 or not finite.

The s_i^2 are the eigenvalues of the smaller Gram matrix, M M^T or M^T M, in double precision: its rounding is
about 1e-16 s_1^2, that of the weights in single precision 1e-7 |W_t| per entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ipcore.probes.definition import Definition, Quantity, Sizes, Tap

if TYPE_CHECKING:
    from torch import Tensor

    from ipcore.probes.taps import Layer

THRESHOLD: Final = 1e-3


def ranks(matrix: Tensor) -> dict[str, Tensor]:
    """The three ranks of every run's matrix, (K, a, b) -> (K,) float64 each."""
    import torch  # noqa: PLC0415 - names of quantities are needed without it

    M = matrix.double()
    gram = M @ M.mT if M.shape[1] <= M.shape[2] else M.mT @ M
    # LAPACK refuses what is not finite; a zero matrix has no rank here, either.
    finite = gram.isfinite().all(dim=-1).all(dim=-1)
    gram.masked_fill_(~finite[:, None, None], 0.0)
    squares = torch.linalg.eigvalsh(gram).clamp_(min=0)
    largest = squares[:, -1]
    # Relative to the largest, so that their squares neither vanish nor overflow; 0/0 is NaN.
    relative = squares / largest[:, None]
    total = relative.sum(dim=1)
    count = (relative > THRESHOLD).sum(dim=1).double()
    return {
        "squared_trace_rank": total.square() / relative.square().sum(dim=1),
        "stable_rank": total,
        "threshold_rank": torch.where(largest > 0, count, torch.nan),
    }


def _of_updates(layer: Layer) -> dict[str, Tensor]:
    return ranks(layer.update)


def _of_activations(layer: Layer) -> dict[str, Tensor]:
    return ranks(layer.x)


def _three(prefix: str, matrix: str, of: Callable[[Layer], dict[str, Tensor]]) -> tuple[Quantity, ...]:
    """The three ranks of one matrix, whose singular values are computed once."""
    meanings = {
        "squared_trace_rank": "(sum s^2)^2 / sum s^4",
        "stable_rank": "sum s^2 / max s^2",
        "threshold_rank": "number of s^2 > 1e-3 max s^2",
    }
    updates = of is _of_updates

    def quantity(name: str, meaning: str) -> Quantity:
        return Quantity(
            f"{prefix}_{name}",
            f"{meaning} of {matrix}",
            lambda layer: layer.once(of)[name],
            (Tap.INITIAL_WEIGHTS,) if updates else (),
            readout=updates,
        )

    return tuple(quantity(name, meaning) for name, meaning in meanings.items())


def _room(sizes: Sizes) -> int:
    """A Gram matrix with LAPACK's copies."""
    values = [(sizes.examples, max(sizes.architecture.outputs))]
    gram = max(min(a, b) for a, b in [*sizes.architecture.matrices, *values])
    return (2 * sizes.itemsize + 16) * max(sizes.matrix, sizes.widest) + 40 * gram**2


def _work(sizes: Sizes) -> float:
    """Gram matrices and their eigenvalues, which cost about as much again."""
    grams = sum(min(a, b) ** 2 * max(a, b) for a, b in sizes.architecture.matrices)
    return 2.0 * (sizes.features + grams)


RANKS: Final = Definition(
    (
        *_three("update", "W_t^l - W_0^l", _of_updates),
        *_three("x", "x_t^l", _of_activations),
    ),
    _room,
    _work,
)
