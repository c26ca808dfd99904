"""Gaussian vectors of given covariance: products of an initial matrix with inputs independent of it.

With W of i.i.d. N(0, s^2/N) entries and X = (x_1 .. x_n) as columns, the rows of W X are i.i.d.
N(0, s^2 X^T X / N). Covariances are factorized in double precision by their eigenvalues, of which negative
ones (rounding) count as 0. The factor is the symmetric root: unlike eigenvectors it is a continuous function
of the covariance, so the same normals give the same draws, up to rounding, on every device.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

# Eigenvalues below this part of the largest are rounding, not directions.
_CUTOFF: Final = 1e-10


def gram(one: Tensor, other: Tensor | None = None) -> Tensor:
    """Inner products of rows divided by N, (n, N) x (k, N) -> (n, k), double precision."""
    left = one.double()
    right: Tensor = left if other is None else other.double()
    inner: Tensor = left @ right.T / one.shape[1]
    return inner


def drawn(covariance: Tensor, count: int, normals: np.random.Generator, dtype: torch.dtype) -> Tensor:
    """Columns are `count` independent draws of N(0, covariance), (n, count), on its device."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    z = torch.from_numpy(normals.standard_normal((len(covariance), count))).to(root.device)
    found: Tensor = root @ z
    return found.to(dtype)


def drawn_given(
    known: Tensor,
    covariance: Tensor,
    cross: Tensor,
    own: Tensor,
    normals: np.random.Generator,
) -> Tensor:
    """Draws of Gaussians whose joint law with known ones is given.

    Args:
        known: Columns are draws of N(0, covariance), (n, count).
        covariance: Covariance of the known, (n, n).
        cross: Covariance of the known with the new, (n, k).
        own: Covariance of the new, (k, k).
        normals: Source of the new directions.

    Returns:
        (k, count), of the dtype of `known`.
    """
    values, vectors = torch.linalg.eigh(covariance)
    seen = values > _CUTOFF * values[-1].clamp(min=torch.finfo(values.dtype).tiny)
    inverse = torch.where(seen, 1 / torch.where(seen, values, 1.0), 0.0)
    regression = (vectors * inverse) @ (vectors.T @ cross)
    fresh = drawn(own - cross.T @ regression, known.shape[1], normals, known.dtype)
    known_part: Tensor = regression.T.to(known.dtype) @ known
    return known_part.add_(fresh)
