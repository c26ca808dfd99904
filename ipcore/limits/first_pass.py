"""Step 0 of a system of particles: the only one that sees the initial hidden matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ipcore.limits.gaussians import drawn, gram
from ipcore.limits.problem import Problem


@dataclass(frozen=True, eq=False, slots=True)
class First:
    """Values of the layers at step 0.

    Attributes:
        h: h_0^1 .. h_0^L on batch 0, (B, N) each.
        x: xi, (B, d + 1), or (B, d) without a bias, and x_0^1 .. x_0^L, (B, N) each.
        u: u_0^1 .. u_0^L, (B, N) each.
        loss: Mean loss at f = 0.
        f: 0, (B, C).
        df: Derivative of the summed loss, (B, C).
    """

    h: tuple[Tensor, ...]
    x: tuple[Tensor, ...]
    u: tuple[Tensor, ...]
    loss: float
    f: Tensor
    df: Tensor


def initial_particles(problem: Problem, replica: int) -> tuple[Tensor, Tensor]:
    """The weights w (N, d+1) ~ N(0, s^2/(d+1)), whose bias column is N(0, s^2), and v (C, N) ~ N(0, 1).

    Without a bias w is (N, d), and N(0, s^2/d).
    """
    fan_in = problem.input_dim + problem.biased
    first = problem.normals(replica, "w").standard_normal((problem.particles, fan_in)) * problem.std
    first[:, : problem.input_dim] /= fan_in**0.5
    last = problem.normals(replica, "v").standard_normal((problem.outputs, problem.particles))
    w, v = (torch.from_numpy(drawn).to(problem.dtype).to(problem.device) for drawn in (first, last))
    return w, v


def first_pass(
    problem: Problem, w: Tensor, v: Tensor, inputs: Tensor, labels: Tensor, replica: int, purpose: str
) -> First:
    """Step 0: forward and backward pass on batch 0, the only ones that use the initial hidden matrices.

    Args:
        problem: Definition of the system.
        w: First-layer weights.
        v: Readout weights.
        inputs: (B, d).
        labels: (B,) or (B, k).
        replica: Which one.
        purpose: Keys the Gaussians: training and calibration have their own.
    """
    phi, variance, N = problem.activation, problem.variance, problem.particles
    x = [problem.inputs(inputs)]
    h: list[Tensor] = [x[0] @ w.T]
    x.append(phi.apply(h[0]))
    for layer in range(2, problem.hidden_layers + 1):
        normals = problem.normals(replica, purpose, "h", layer)
        h.append(drawn(variance * gram(x[-1]), N, normals, problem.dtype))
        x.append(phi.apply(h[-1]))
    f = torch.zeros((len(inputs), problem.outputs), dtype=problem.dtype, device=problem.device)
    loss, df = problem.derivative(f, labels)
    dx, u = df @ v, list[Tensor]()
    for layer in range(problem.hidden_layers, 0, -1):
        phi.backward(dx, h[layer - 1], x[layer])
        u.append(dx)
        if layer > 1:
            normals = problem.normals(replica, purpose, "dx", layer)
            dx = drawn(variance * gram(dx), N, normals, problem.dtype)
    return First(tuple(h), tuple(x), tuple(reversed(u)), loss, f, df)
