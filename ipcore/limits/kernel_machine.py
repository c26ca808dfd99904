"""Training in the kernel limit: gradient descent in function space, on the batches of finite networks.

Features do not move, so that after t updates f_t(x) = f_0(x) - sum_i T(x, x_i) alpha_i over the training
inputs used so far; an update adds to the alpha_i of its batch. Only f_0, a Gaussian process, is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ipcore.engine.losses import Loss
from ipcore.limits.gaussians import drawn
from ipcore.limits.kernels import Kernels
from ipcore.limits.pieces import pieces
from ipcore.randomness import generator


class KernelMachine:
    """f of one run.

    Args:
        kernels: Kernels of the network.
        inputs: Training inputs that some batch holds, (n, d). All tensors are on their device.
        places: Other inputs at which f is asked for, by name.
        outputs: C.
        loss: A function of outputs and labels.
        momentum: beta; 0: plain gradient descent.
        seed: Keys f_0.
        starts_at_zero: Whether f_0 = 0; else it is drawn from N(0, S^{L+1}), jointly at all inputs.
    """

    def __init__(
        self,
        kernels: Kernels,
        inputs: Tensor,
        places: Mapping[str, Tensor],
        *,
        outputs: int,
        loss: Loss,
        momentum: float,
        seed: int,
        starts_at_zero: bool,
    ) -> None:
        self._kernels, self._inputs, self._places = kernels, inputs, dict(places)
        self._loss, self._momentum = loss, momentum
        self._variances = kernels.variances(inputs)
        self._alpha = torch.zeros((len(inputs), outputs), dtype=torch.float64, device=inputs.device)
        self._velocity = torch.zeros_like(self._alpha)
        self._reached = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        self._seed, self._starts_at_zero = seed, starts_at_zero
        # f_0 at the training inputs (under the name "") and at the places; drawn when it is first needed.
        self._starts: dict[str, Tensor] | None = None

    def start(self, inputs: Tensor, places: Mapping[str, Tensor]) -> None:
        """Begin with another f_0, such as that of a finite network.

        Args:
            inputs: At the training inputs, (n, C).
            places: At the others, by name.
        """
        self._starts = {"": inputs.double()} | {name: f.double() for name, f in places.items()}

    def _start(self, place: str) -> Tensor:
        """Outputs f_0 at a place, or at the training inputs."""
        if self._starts is None:
            parts = {"": self._inputs, **self._places}
            everything, outputs = torch.cat(list(parts.values())), self._alpha.shape[1]
            start = self._alpha.new_zeros((len(everything), outputs))
            if not self._starts_at_zero:
                start = drawn(
                    self._covariance(everything),
                    outputs,
                    generator(self._seed, "limit", "f_0"),
                    torch.float64,
                )
            ends = np.cumsum([0, *(len(x) for x in parts.values())])
            self._starts = {
                name: start[begin:end] for name, begin, end in zip(parts, ends[:-1], ends[1:], strict=True)
            }
        return self._starts[place]

    def _covariance(self, x: Tensor) -> Tensor:
        """Covariance of f_0 at inputs (n, d), (n, n)."""
        found = torch.empty((len(x), len(x)), dtype=torch.float64, device=x.device)
        for rows, part in zip(pieces(found), pieces(x), strict=True):
            rows.copy_(self._kernels.at(part, x)[0])
        return found

    def outputs(self, place: str) -> Tensor:
        """Outputs at one of the named sets of inputs, (k, C)."""
        found = self._start(place).clone()
        used = torch.nonzero(self._reached).squeeze(-1)
        if len(used):
            inputs, q = self._inputs[used], [v[used] for v in self._variances]
            alpha, parts = self._alpha[used], pieces(self._places[place])
            found -= torch.cat([self._kernels.at(part, inputs, q=q)[1] @ alpha for part in parts])
        return found

    def update(self, batch: Tensor, labels: Tensor, rate: float) -> tuple[float, Tensor]:
        """One update.

        Args:
            batch: Rows of the training inputs, (B,).
            labels: (B,) or (B, k).
            rate: Base rate times schedule.

        Returns:
            Mean loss and outputs (B, C) before it.
        """
        f = self._start("")[batch].clone()
        used = torch.nonzero(self._reached).squeeze(-1)
        if len(used):
            p = [v[batch] for v in self._variances]
            q = [v[used] for v in self._variances]
            T = self._kernels.at(self._inputs[batch], self._inputs[used], p, q)[1]
            f -= T @ self._alpha[used]
        out = torch.empty_like(f).unsqueeze(0)
        summed = self._loss.value_and_derivative(f.unsqueeze(0), labels.unsqueeze(0), out)
        self._velocity *= self._momentum
        self._velocity.index_add_(0, batch, out[0] / len(batch))
        self._alpha.add_(self._velocity, alpha=rate)
        self._reached[batch] = True
        return float(summed[0]) / len(batch), f

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        return {"alpha": self._alpha, "velocity": self._velocity, "reached": self._reached}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        self._alpha.copy_(tensors["alpha"])
        self._velocity.copy_(tensors["velocity"])
        self._reached.copy_(tensors["reached"])


def used_rows(batches: Sequence[np.ndarray]) -> np.ndarray:
    """Training examples that some batch holds, ascending."""
    return np.unique(np.concatenate([np.ravel(batch) for batch in batches]))
