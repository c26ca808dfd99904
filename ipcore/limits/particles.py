"""IP-LLR, HP and HPZ at m = infinity: a causal system of N particles per layer (docs/limits.md).

After the first step an infinitely wide network in these parameterizations is

    h^1 = w xi,   h^l = -(1/N) sum_s g_s u_s^l (x_s^{l-1} . x^{l-1}),   f = (1/N) v . x^L,   xi = (x, 1)

with averages over neurons in place of sums. N neurons drawn at random estimate them, with a random error of
order N^{-1/2} and a bias of order 1/N. Quantities are in the units of muP, of order 1: u^l = m dh^l. Only
step 0 uses the initial hidden matrices: they give h_0^l and dx_0^{l-1}, Gaussians that are independent of
each other given the layers below and above. At L = 1 there is no such matrix, and the particles are the
two-layer mean-field limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ipcore.limits.first_pass import first_pass, initial_particles
from ipcore.limits.growing import GrowingMatrix
from ipcore.limits.problem import Problem
from ipcore.limits.revival import Dormant
from ipcore.limits.sweep import swept_outputs


class Particles:
    """One replica of the system.

    Args:
        problem: Definition of the system.
        replica: Which one: keys its normals.
    """

    def __init__(self, problem: Problem, replica: int) -> None:
        self._problem, self._replica = problem, replica
        self._w, self._v = initial_particles(problem, replica)
        N, columns = problem.particles, problem.steps * problem.batch_size
        self._hidden = [
            GrowingMatrix(
                N,
                N,
                columns,
                scale=1 / N,
                momentum=problem.momentum,
                dtype=problem.dtype,
                device=problem.device,
            )
            for _ in range(2, problem.hidden_layers + 1)
        ]
        self._velocities: tuple[Tensor, Tensor] | None = None
        if problem.momentum:
            self._velocities = torch.zeros_like(self._w), torch.zeros_like(self._v)
        self._dormant: Dormant | None = None
        self.step = 0

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs f of inputs (n, d) after `step` updates, (n, C); exactly 0 at step 0."""
        p = self._problem
        if self.step == 0:
            return self._v.new_zeros((len(inputs), p.outputs))
        factors = [found for matrix in self._hidden if (found := matrix.factors) is not None]
        if len(factors) < len(self._hidden):
            return self._readout(self._forward(inputs)[1][-1])
        return swept_outputs(p.inputs(inputs), self._w, factors, self._v, p.activation)

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """h^1 .. h^L of inputs (n, d) after step >= 1 updates, (n, N) each.

        Raises:
            ValueError: No update is done yet.
        """
        if self.step == 0:
            raise ValueError("h_0 beyond batch 0 is not kept: ask after the first update")
        return self._forward(inputs)[0]

    def update(
        self, inputs: Tensor, labels: Tensor, rates: Sequence[float], keep: float = 1.0
    ) -> tuple[float, Tensor]:
        """One update on a batch.

        Args:
            inputs: (B, d).
            labels: (B,) or (B, k).
            rates: Base rate times schedule of each layer, 1..L+1.
            keep: 1 - eta q lambda, the factor of weight decay.

        Returns:
            Mean loss and outputs (B, C) before it.
        """
        if self.step == 0:
            loss, f, df, x, u = self._first(inputs, labels)
        else:
            loss, f, df, x, u = self._later(inputs, labels)
        B = len(inputs)
        for layer, matrix in enumerate(self._hidden, start=2):
            matrix.update(u[layer - 1], x[layer - 1], rate=rates[layer - 1] / B, keep=keep)
        if keep != 1:
            self._w[:, : self._problem.input_dim] *= keep  # not its bias column
            self._v *= keep
        gradients = (u[0].T, x[0]), (df.T, x[-1])
        ends = (self._w, rates[0] / B), (self._v, rates[-1] / B)
        for i, ((weights, rate), gradient) in enumerate(zip(ends, gradients, strict=True)):
            if self._velocities is None:
                weights.addmm_(*gradient, alpha=-rate)
            else:
                velocity = self._velocities[i].addmm_(*gradient, beta=self._problem.momentum)
                weights.sub_(velocity, alpha=rate)
        if self.step == 0:
            self._forget_velocities()
        self.step += 1
        return loss, f

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        tensors = {"w": self._w, "v": self._v, "step": torch.tensor(self.step)}
        if self._velocities is not None:
            tensors |= {"w_velocity": self._velocities[0], "v_velocity": self._velocities[1]}
        for layer, matrix in enumerate(self._hidden, start=2):
            tensors |= {f"{layer}/{name}": tensor for name, tensor in matrix.state().items()}
        if self._dormant is not None:
            tensors |= {f"dormant/{name}": tensor for name, tensor in self._dormant.state().items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        self._w.copy_(tensors["w"])
        self._v.copy_(tensors["v"])
        self.step = int(tensors["step"])
        if self._velocities is not None:
            self._velocities[0].copy_(tensors["w_velocity"])
            self._velocities[1].copy_(tensors["v_velocity"])
        for layer, matrix in enumerate(self._hidden, start=2):
            matrix.load_state(below(tensors, f"{layer}/"))
        if dormant := below(tensors, "dormant/"):
            p = self._problem
            self._dormant = Dormant.restored(dormant, p.particles, self._questions(), p.device)

    def _forget_velocities(self) -> None:
        """Remove gradients of step 0 that vanish beside later ones from the velocities."""
        first, *hidden, last = self._problem.carries
        for matrix, carries in zip(self._hidden, hidden, strict=True):
            if not carries:
                matrix.forget_velocity()
        for velocity, carries in zip(self._velocities or (), (first, last), strict=False):
            if not carries:
                velocity.zero_()

    def _forward(self, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """h^1 .. h^L and xi, x^1 .. x^L."""
        phi = self._problem.activation.apply
        x = [self._problem.inputs(inputs)]
        h = [x[0] @ self._w.T]
        x.append(phi(h[0]))
        for matrix in self._hidden:
            h.append(matrix.forward(x[-1]))
            x.append(phi(h[-1]))
        return h, x

    def _readout(self, x: Tensor) -> Tensor:
        return x @ self._v.T / self._problem.particles

    def _first(self, inputs: Tensor, labels: Tensor) -> _Passed:
        p = self._problem
        first = first_pass(p, self._w, self._v, inputs, labels, self._replica, "train")
        if p.revives and p.hidden_layers > 1:
            self._dormant = Dormant.of(first.x[-2], first.h[-1], first.u[-1], p.std, self._questions())
        return first.loss, first.f, first.df, first.x, first.u

    def _later(self, inputs: Tensor, labels: Tensor) -> _Passed:
        h, x = self._forward(inputs)
        f = self._readout(x[-1])
        loss, df = self._problem.derivative(f, labels)
        dx, u = df @ self._v, list[Tensor]()
        revived = self._revived(h[-1], x[-2], dx)
        for layer in range(self._problem.hidden_layers, 0, -1):
            self._problem.activation.backward(dx, h[layer - 1], x[layer])
            if layer == self._problem.hidden_layers and self._dormant is not None:
                dx += revived
                self._dormant.learned(dx)
            u.append(dx)
            if layer > 1:
                dx = self._hidden[layer - 2].backward(dx)
        return loss, f, df, x, tuple(reversed(u))

    def _revived(self, h: Tensor, x: Tensor, dx: Tensor) -> Tensor:
        """u^L of the neurons that turn on, 0 elsewhere (and phi' is 0 at them)."""
        if self._dormant is None:
            return dx.new_zeros(())
        normals = self._problem.normals(self._replica, "revival", self.step)
        return dx * self._dormant.on(h, x, normals)

    def _questions(self) -> int:
        return self._problem.steps * self._problem.batch_size


# Loss, f, df, x^0 .. x^L, u^1 .. u^L.
_Passed = tuple[float, Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]]


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
