"""Calibrated base rates of the first step at m = infinity (finite widths: `ipcore.training.calibration`).

At a finite width the update of base rate 1 is computed on batch 1, and its mean effect |Delta W^l x^{l-1}| is
measured on batch 2, layer by layer upwards, with each layer at its own uncapped rate. There are two limits:

- IP-LLR: the initial hidden matrices are m^{-1/2} smaller than the updates, so x^l = phi(r^l e^l) with
  e^l = -u^l (x_0^{l-1} . x^{l-1}) / (B N) and r^l = 1 / mean |e^l|.
- HP, HPZ: the networks are muP's, and h^l = zeta^l + u^l c^l. zeta^l is jointly Gaussian with h_0^l, and
  c^l = kappa^l + r^l (-(x_0^{l-1} . x^{l-1}) / (B N)). The response kappa^l = s^2 E[phi'(h_0^{l-1})
  phi'(h^{l-1})] c^{l-1} comes from what x^{l-1} owes to the transpose of the same matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ipcore.config import Calibration
from ipcore.limits.first_pass import First, first_pass, initial_particles
from ipcore.limits.gaussians import drawn_given, gram
from ipcore.limits.problem import Problem


def first_rates(
    problem: Problem,
    replicas: int,
    one: tuple[Tensor, Tensor],
    two: Tensor,
    base_rate: float,
    setting: Calibration,
    *,
    keeps_initial: bool,
) -> tuple[float, ...]:
    """Base rates of step 0, one per layer, from mean effects that are averaged over replicas.

    Args:
        problem: Definition of the system.
        replicas: R.
        one: Inputs (B, d) and labels of the batch of the update.
        two: Inputs (B, d) of the batch on which its effect is measured.
        base_rate: The user's eta, which the first layer keeps.
        setting: Target at the readout and cap.
        keeps_initial: Whether the initial matrices count (HP, HPZ) or not (IP-LLR).

    Returns:
        L+1 rates: `base_rate`, then, at most the cap, 1 over the mean effect of each hidden layer above the
        first, and the readout's target over its mean effect.
    """
    walk = _with_initial if keeps_initial else _without_initial
    effects = []
    for replica in range(replicas):
        w, v = initial_particles(problem, replica)
        first = first_pass(problem, w, v, *one, replica, "calibration")
        effects.append(walk(problem, first, w, problem.inputs(two), base_rate, replica))
    means = torch.tensor(effects, dtype=torch.float64).mean(dim=0).tolist()
    targets = [1.0] * (len(means) - 1) + [setting.readout_target]
    return (
        base_rate,
        *(
            min(target / mean, setting.cap) if mean > 0 else setting.cap
            for target, mean in zip(targets, means, strict=True)
        ),
    )


def _inner(first: Tensor, x: Tensor, batch_size: int) -> Tensor:
    """-(x_0 . x) / (B N) of rows, (B, n)."""
    return -gram(first, x) / batch_size


def _mean(effect: Tensor) -> float:
    return float(effect.abs().mean(dtype=torch.float64))


def _readout(first: First, x: Tensor, batch_size: int) -> float:
    """Mean size of the readout's update of base rate 1."""
    return _mean(_inner(first.x[-1], x, batch_size).T @ first.df.double())


def _without_initial(
    problem: Problem, first: First, w: Tensor, xi: Tensor, base_rate: float, replica: int
) -> Sequence[float]:
    phi, B, effects = problem.activation.apply, problem.batch_size, list[float]()
    x = phi(xi @ (w - (base_rate / B) * (first.u[0].T @ first.x[0])).T)
    for layer in range(2, problem.hidden_layers + 1):
        e = _inner(first.x[layer - 1], x, B).T.to(x.dtype) @ first.u[layer - 1]
        effects.append(_mean(e))
        x = phi(e / effects[-1] if effects[-1] else e)
    return [*effects, _readout(first, x, B)]


def _with_initial(
    problem: Problem, first: First, w: Tensor, xi: Tensor, base_rate: float, replica: int
) -> Sequence[float]:
    phi, B, variance, effects = problem.activation, problem.batch_size, problem.variance, list[float]()
    c = -(base_rate / B) * (first.x[0].double() @ xi.double().T)
    h = xi @ w.T + c.T.to(xi.dtype) @ first.u[0]
    x = phi.apply(h)
    for layer in range(2, problem.hidden_layers + 1):
        x0, h0 = first.x[layer - 1], first.h[layer - 2]
        slopes = [_derivative(problem, value) for value in (h0, h)]
        kappa = variance * gram(*slopes) * c
        inner = _inner(x0, x, B)
        effects.append(_mean(inner.T.to(x.dtype) @ first.u[layer - 1]))
        c = kappa + inner / effects[-1] if effects[-1] else kappa
        zeta = drawn_given(
            first.h[layer - 1],
            variance * gram(x0),
            variance * gram(x0, x),
            variance * gram(x),
            problem.normals(replica, "calibration", "zeta", layer),
        )
        h = zeta + c.T.to(x.dtype) @ first.u[layer - 1]
        x = phi.apply(h)
    return [*effects, _readout(first, x, B)]


def _derivative(problem: Problem, h: Tensor) -> Tensor:
    slope = torch.ones_like(h)
    problem.activation.backward(slope, h, problem.activation.apply(h))
    return slope
