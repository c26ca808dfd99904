"""Multiply-adds with one hidden matrix of a limit or of deferred weights. Standard library only."""

from __future__ import annotations

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import PackConfig
from ipcore.planning.kernel_machine import reads
from ipcore.theory import Parameterization


def velocities(config: PackConfig) -> int:
    """Velocities that are kept for each matrix: 1 with momentum, else 0."""
    return int(OPTIMIZERS[config.optimizer].accumulates)


def growing_work(config: PackConfig) -> float:
    """Multiply-adds of all updates with one hidden matrix that is the sum of its updates.

    A product with k columns of factors takes 2 N k, one with the matrix itself N^2; each example needs two in
    an update. The matrix is formed by the first update whose columns would be more than N.
    """
    T, B, N = config.steps, config.batch_size, config.width
    factored = min(T, N // B)
    work = 4.0 * N * reads(min(T, factored + 1), B, N)
    if factored < T:
        forming = (1 + velocities(config)) * factored
        gradients, passes = T - factored, 2 * (T - factored - 1)
        work += (forming + gradients + passes) * B * float(N) ** 2
    return work


def product_work(config: PackConfig) -> float:
    """Multiply-adds of a product with such a matrix after the last update."""
    examples, N = config.steps * config.batch_size, config.width
    return float(N) * (2 * examples if examples <= N else N)


def asking_work(config: PackConfig, pairs: float) -> float:
    """Multiply-adds of asking a deferred matrix for products with so many batches on either side.

    A question of n vectors to m x m normals of which k directions are known on its side, and k' on the other,
    takes n m (5 k + 3 k') (`ipcore.limits.deferred`), and to orthogonalize it as long as 8 n^2 m.
    """
    B, m = config.batch_size, config.width
    return 16.0 * m * (reads(pairs, B, m) + pairs * B * B)


def asked_updates(parameterization: Parameterization, layer: int, steps: int) -> int:
    """Number of updates that see the initial matrix of a hidden layer: those while it is not removed.

    Args:
        parameterization: Its re-weightings decide.
        layer: 2..L.
        steps: T.
    """
    p = parameterization
    changes = sorted({0, *(min(change.start, steps) for change in p.reweightings)})
    parts = zip(changes, [*changes[1:], steps], strict=True)
    return sum(end - begin for begin, end in parts if p.k_at(begin)[layer - 1] is not None)
