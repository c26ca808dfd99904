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

from typing import Final

import torch
from torch import Tensor

THRESHOLD: Final = 1e-3


def ranks(matrix: Tensor) -> dict[str, Tensor]:
    """The three ranks of every run's matrix, (K, a, b) -> (K,) float64 each."""
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
