"""Training in the kernel limit: gradient descent in function space, on the batches of finite networks.

Features do not move, so that after t updates f_t(x) = f_0(x) - sum_i T(x, x_i) alpha_i over the training
inputs used so far; an update adds to the alpha_i of its batch. Only f_0, a Gaussian process, is sampled.
Machines that see the same batches are trained together: they share T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import Loss
from ipcore.limits.gaussians import drawn
from ipcore.limits.kernels import Kernels
from ipcore.limits.pieces import pieces
from ipcore.planning.kernel_machine import INPUTS, rows_at_once
from ipcore.randomness import generator


class KernelMachine:
    """The outputs f of R runs, which learn from the same batches.

    Attributes:
        rows: Training examples that some batch holds, ascending.

    Args:
        kernels: Of the networks.
        inputs: Training inputs. All tensors are on their device.
        rows: See the attributes.
        places: Other inputs at which f is asked for, by name.
        outputs: C.
        loss: A function of outputs and labels.
        momentum: beta; 0: plain gradient descent.
        seed: Keys f_0.
        starts_at_zero: Whether f_0 = 0; else it is drawn from N(0, S^{L+1}), jointly at all inputs.
        runs: R. They may differ in their rates and their f_0.
    """

    def __init__(
        self,
        kernels: Kernels,
        inputs: Inputs,
        rows: Tensor,
        places: Mapping[str, Tensor],
        *,
        outputs: int,
        loss: Loss,
        momentum: float,
        seed: int = 0,
        starts_at_zero: bool = True,
        runs: int = 1,
    ) -> None:
        self._kernels, self._inputs, self.rows, self._places = kernels, inputs, rows, dict(places)
        self._loss, self._momentum = loss, momentum
        self._marginals = self._marginals_at(inputs.at(rows))
        self._alpha = torch.zeros((runs, len(rows), outputs), dtype=torch.float64, device=rows.device)
        self._velocity = torch.zeros_like(self._alpha)
        self._reached = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        self._index = torch.full((len(inputs),), -1, dtype=torch.int64, device=rows.device)
        self._index[rows] = torch.arange(len(rows), device=rows.device)
        self._seed, self._starts_at_zero = seed, starts_at_zero
        # f_0 at the training inputs (under the name "") and at the places; drawn when it is first needed.
        self._starts: dict[str, Tensor] | None = None

    def start(self, inputs: Tensor, places: Mapping[str, Tensor]) -> None:
        """Begin with another f_0, such as those of finite networks.

        Args:
            inputs: At the training examples `rows`, (R, n, C).
            places: At the others, by name.
        """
        self._starts = {"": inputs.double()} | {name: f.double() for name, f in places.items()}

    def first(self, place: str) -> Tensor:
        """Outputs f_0 at a place, or at the training examples `rows` (""), (R, k, C)."""
        if self._starts is None:
            parts = {"": self._inputs.at(self.rows), **self._places}
            everything, (runs, _, outputs) = torch.cat(list(parts.values())), self._alpha.shape
            start = self._alpha.new_zeros((runs, len(everything), outputs))
            if not self._starts_at_zero:
                numbers = generator(self._seed, "limit", "f_0")
                start[:] = drawn(self._covariance(everything), outputs, numbers, torch.float64)
            ends = np.cumsum([0, *(len(x) for x in parts.values())])
            self._starts = {
                name: start[:, begin:end] for name, begin, end in zip(parts, ends[:-1], ends[1:], strict=True)
            }
        return self._starts[place]

    def _covariance(self, x: Tensor) -> Tensor:
        """Covariance of f_0 at inputs (n, d), (n, n)."""
        found = torch.empty((len(x), len(x)), dtype=torch.float64, device=x.device)
        known, most = self._marginals_at(x), rows_at_once(len(x))
        for begin, rows in zip(range(0, len(x), most), pieces(found, most), strict=True):
            here = slice(begin, begin + len(rows))
            rows.copy_(self._kernels.at(x[here], x, [p[here] for p in known], known)[0])
        return found

    def _marginals_at(self, x: Tensor) -> list[Tensor]:
        parts = [self._kernels.marginals(part) for part in pieces(x, INPUTS)]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    def outputs(self, place: str) -> Tensor:
        """Outputs at one of the named sets of inputs, (R, k, C)."""
        x = self._places[place]
        return self.first(place) - self._moved(x, self._marginals_at(x))

    def update(self, batch: Tensor, labels: Tensor, rates: Sequence[float]) -> Tensor:
        """One update.

        Args:
            batch: Training examples, (B,).
            labels: (B,) or (B, k).
            rates: Base rate times schedule of each run.

        Returns:
            Outputs (R, B, C) before it.
        """
        at = self._index[batch]
        f = self.first("")[:, at] - self._moved(self._inputs.at(batch), [v[at] for v in self._marginals])
        out = torch.empty_like(f)
        self._loss.value_and_derivative(f, labels.expand(len(f), *labels.shape), out)
        self._velocity *= self._momentum
        self._velocity.index_add_(1, at, out / len(batch))
        for alpha, velocity, rate in zip(self._alpha, self._velocity, rates, strict=True):
            alpha.add_(velocity, alpha=rate)
        self._reached[at] = True
        return f

    def _moved(self, x: Tensor, p: Sequence[Tensor]) -> Tensor:
        """f_0 - f at inputs (k, d) of these marginals, (R, k, C)."""
        used = torch.nonzero(self._reached).squeeze(-1)
        found = self._alpha.new_zeros((len(self._alpha), len(x), self._alpha.shape[-1]))
        if not len(used):
            return found
        inputs, q = self._inputs.at(self.rows[used]), [v[used] for v in self._marginals]
        alpha, most = self._alpha[:, used], rows_at_once(len(used))
        for begin, part in zip(range(0, len(x), most), pieces(x, most), strict=True):
            here = slice(begin, begin + len(part))
            T = self._kernels.at(part, inputs, [v[here] for v in p], q)[1]
            for moved, one in zip(found, alpha, strict=True):
                moved[here] = T @ one
        return found

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
