"""A network whose initial hidden matrices are drawn only in the directions that training needs: exact in law.

    W_t^l x = rho_t p_t (mu 1 1^T x + sigma G^l x) - sum_s g_s dh_s^l (x_s^{l-1} . x)

with G^l of i.i.d. normals (`ipcore.limits.deferred`), sigma and mu the initial size and mean, p_t and rho_t
the factors of weight decay and re-weighting, and the updates as their factors (`ipcore.limits.growing`). The
first and the last matrix, and biases, are those of a dense network of the same seed. Every
abc-parameterization trains so under gradient descent or momentum, at widths far beyond what m^2 entries would
allow: T updates of B examples see at most T B directions.

The law of the whole training is that of a dense network. Test inputs are evaluated jointly, in chunks, and
their answers are not remembered: the law at each step is exact, and the noise at different steps is
independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import PackConfig, RunConfig
from ipcore.engine.losses import LOSSES
from ipcore.limits.deferred import DeferredMatrix
from ipcore.limits.growing import GrowingMatrix
from ipcore.limits.particles import below
from ipcore.limits.pieces import pieces
from ipcore.limits.work import asked_updates
from ipcore.models.activations import activation
from ipcore.models.scales import (
    bias_rate_factors,
    biased_layers,
    initial_bias_stds,
    initial_means,
    initial_stds,
    rate_factors,
    remainders,
)
from ipcore.randomness import bias_normals, generator, weight_normals


class DeferredNetwork:
    """One run of finite width.

    Args:
        config: Configuration of its pack; `width` is m.
        run: The run.
        input_dim: d.
        outputs: C.
        dtype: Number format of all tensors.
        device: Device of all tensors.
    """

    def __init__(
        self,
        config: PackConfig,
        run: RunConfig,
        input_dim: int,
        outputs: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self._config, self._run, self._dtype, self._device = config, run, dtype, device
        self._phi, self._loss = activation(config.activation), LOSSES[config.loss]
        p, m, L = run.parameterization, config.width, config.hidden_layers
        roles = config.architecture(input_dim, outputs).roles
        self._stds = initial_stds(p, m, config.activation, roles, input_dim, config.bias)
        self._means = initial_means(p, m)
        momentum = OPTIMIZERS[config.optimizer].accumulates
        self._momentum = run.settings.momentum if momentum else 0.0
        extra = 0 if run.calibration is None else config.batch_size
        asked = [asked_updates(p, layer, config.steps) * config.batch_size for layer in range(2, L + 1)]
        self._initial = [
            DeferredMatrix(m, m, questions + 2 * extra, questions + extra, dtype, device)
            for questions in asked
        ]
        columns = config.steps * config.batch_size
        self._updates = [
            GrowingMatrix(m, m, columns, scale=1.0, momentum=self._momentum, dtype=dtype, device=device)
            for _ in range(2, L + 1)
        ]
        shapes = {1: (m, input_dim), L + 1: (outputs, m)}
        self._ends = {layer: self._drawn(layer, shape) for layer, shape in shapes.items()}
        stds = initial_bias_stds(p, m, config.activation, roles, config.bias)
        sizes = [m] * L + [outputs]
        self._biases = [
            torch.from_numpy(bias_normals(run.seed, layer + 1, size) * std).to(dtype).to(device)
            for layer, (size, std) in enumerate(zip(sizes, stds, strict=False))
        ]
        self._velocity: dict[str, Tensor] = {}
        self._kept = 1.0
        self.step = 0

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs f of inputs (n, d) after `step` updates, (n, C)."""
        parts = enumerate(pieces(inputs.to(self._dtype)))
        return torch.cat([self._forward(x, f"test {i}", remember=False)[0][-1] for i, x in parts])

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """h^1 .. h^L of at most 512 inputs (n, d) after `step` updates, (n, m) each; not remembered."""
        return self._forward(inputs.to(self._dtype), "hidden", remember=False)[0][:-1]

    def update(
        self, inputs: Tensor, labels: Tensor, base_rates: Sequence[float], schedule: float, keep: float = 1.0
    ) -> tuple[float, Tensor]:
        """One update on a batch.

        Args:
            inputs: (B, d).
            labels: (B,) or (B, k).
            base_rates: Base rates of the layers 1..L+1: eta, or calibrated ones.
            schedule: The schedule's factor.
            keep: 1 - eta q lambda, the factor of weight decay.

        Returns:
            Mean loss and outputs (B, C) before it.
        """
        p, m, B = self._run.parameterization, self._config.width, len(inputs)
        factors = rate_factors(p, m, self.step)
        rates = [base * factor * schedule / B for base, factor in zip(base_rates, factors, strict=True)]
        h, x = self._forward(inputs.to(self._dtype), "train", remember=True)
        loss, dh = self._backward(h, x, labels, "train")
        for layer, matrix in enumerate(self._updates, start=2):
            matrix.update(dh[layer - 1], x[layer - 1], rate=rates[layer - 1], keep=keep)
        for layer, weight in self._ends.items():
            gradient = self._moved(f"W{layer}", dh[layer - 1].T @ x[layer - 1])
            weight.mul_(keep).sub_(gradient, alpha=rates[layer - 1])
        own = p.biases is not None
        bias_factors = bias_rate_factors(p, m, self.step, self._config.bias)
        for layer, bias in enumerate(self._biases, start=1):
            rate = rates[layer - 1]
            if own:
                rate = self._run.base_learning_rate * bias_factors[layer - 1] * schedule / B
            bias.sub_(self._moved(f"B{layer}", dh[layer - 1].sum(dim=0)), alpha=rate)
        self._kept *= keep
        self.step += 1
        return loss, h[-1]

    def first_rates(self, one: tuple[Tensor, Tensor], two: Tensor) -> tuple[float, ...]:
        """Calibrated base rates of step 0, as `ipcore.training.calibration` finds them.

        The answers of the initial matrices are remembered, so that training is consistent with them.

        Args:
            one: Inputs (B, d) and labels of the batch of the update.
            two: Inputs (B, d) of the batch on which its effect is measured.

        Returns:
            L+1 rates: the user's eta, and those of layers 2..L+1, at most the cap.

        Raises:
            ValueError: The run is not calibrated.
        """
        setting, eta = self._run.calibration, self._run.base_learning_rate
        if setting is None:
            raise ValueError("the run is not calibrated")
        B, factors = len(two), rate_factors(self._run.parameterization, self._config.width, 0)
        h, below_x = self._forward(one[0].to(self._dtype), "calibration", remember=True)
        _, dh = self._backward(h, below_x, one[1], "calibration")
        x, rates = two.to(self._dtype), list[float]()
        layers = self._config.hidden_layers + 1
        for layer in range(1, layers + 1):
            inner = x @ below_x[layer - 1].T
            if layer == 1 and biased_layers(self._run.parameterization, self._config.bias):
                inner += 1
            effect = inner @ (dh[layer - 1] * (-factors[layer - 1] / B))
            rate = eta
            if layer > 1:
                mean = float(effect.abs().mean(dtype=torch.float64))
                target = setting.readout_target if layer == layers else 1.0
                rate = target / mean if 0 < mean < float("inf") else setting.cap
            rates.append(rate)
            value = self._linear(layer, x, "calibration, measured", remember=True).add_(effect, alpha=rate)
            x = self._phi.apply(value)
        return (rates[0], *(min(rate, setting.cap) for rate in rates[1:]))

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        tensors = {"step": torch.tensor(self.step), "kept": torch.tensor(self._kept, dtype=torch.float64)}
        tensors |= {f"W{layer}": weight for layer, weight in self._ends.items()}
        tensors |= {f"B{layer}": bias for layer, bias in enumerate(self._biases, start=1)}
        tensors |= {f"velocity/{name}": tensor for name, tensor in self._velocity.items()}
        for layer, (initial, updates) in enumerate(zip(self._initial, self._updates, strict=True), start=2):
            tensors |= {f"initial/{layer}/{name}": tensor for name, tensor in initial.state().items()}
            tensors |= {f"updates/{layer}/{name}": tensor for name, tensor in updates.state().items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        self.step, self._kept = int(tensors["step"]), float(tensors["kept"])
        for layer, weight in self._ends.items():
            weight.copy_(tensors[f"W{layer}"])
        for layer, bias in enumerate(self._biases, start=1):
            bias.copy_(tensors[f"B{layer}"])
        velocity = below(tensors, "velocity/")
        self._velocity = {name: tensor.to(self._device, copy=True) for name, tensor in velocity.items()}
        for layer, (initial, updates) in enumerate(zip(self._initial, self._updates, strict=True), start=2):
            initial.load_state(below(tensors, f"initial/{layer}/"))
            updates.load_state(below(tensors, f"updates/{layer}/"))

    def _drawn(self, layer: int, shape: tuple[int, int]) -> Tensor:
        """The initial first or last matrix, as `ipcore.engine.initialization` draws it."""
        initial = (
            weight_normals(self._run.seed, layer, shape) * self._stds[layer - 1] + self._means[layer - 1]
        )
        return torch.from_numpy(initial).to(self._dtype).to(self._device)

    def _forward(self, x: Tensor, purpose: str, *, remember: bool) -> tuple[list[Tensor], list[Tensor]]:
        """h^1 .. h^{L+1} and x, x^1 .. x^L."""
        h, values = list[Tensor](), [x]
        for layer in range(1, self._config.hidden_layers + 2):
            h.append(self._linear(layer, values[-1], purpose, remember=remember))
            if layer <= self._config.hidden_layers:
                values.append(self._phi.apply(h[-1]))
        return h, values

    def _linear(self, layer: int, x: Tensor, purpose: str, *, remember: bool) -> Tensor:
        if layer in self._ends:
            h = x @ self._ends[layer].T
        else:
            h = self._matrix(layer, x, purpose, remember=remember)
        return h.add_(self._biases[layer - 1]) if layer <= len(self._biases) else h

    def _matrix(self, layer: int, x: Tensor, purpose: str, *, remember: bool) -> Tensor:
        """W^l x of a hidden layer."""
        h = self._updates[layer - 2].forward(x)
        if rest := self._rest(layer):
            mean, std = self._means[layer - 1], self._stds[layer - 1]
            normals = generator(self._run.seed, "deferred", layer, self.step, purpose)
            initial = self._initial[layer - 2].forward(x, normals, remember=remember)
            h.add_(initial, alpha=rest * std)
            if mean:
                h.add_(x.sum(dim=1, keepdim=True), alpha=rest * mean)
        return h

    def _transposed(self, layer: int, dh: Tensor, purpose: str) -> Tensor:
        dx = self._updates[layer - 2].backward(dh)
        if rest := self._rest(layer):
            mean, std = self._means[layer - 1], self._stds[layer - 1]
            normals = generator(self._run.seed, "deferred", layer, self.step, f"{purpose}, transposed")
            dx.add_(self._initial[layer - 2].backward(dh, normals), alpha=rest * std)
            if mean:
                dx.add_(dh.sum(dim=1, keepdim=True), alpha=rest * mean)
        return dx

    def _rest(self, layer: int) -> float:
        """Factor of the initial matrix."""
        return remainders(self._run.parameterization, self._config.width, self.step)[layer - 1] * self._kept

    def _backward(
        self, h: Sequence[Tensor], x: Sequence[Tensor], labels: Tensor, purpose: str
    ) -> tuple[float, list[Tensor]]:
        """Mean loss, and dh^1 .. dh^{L+1} of the summed loss."""
        f = h[-1]
        out = torch.empty_like(f).unsqueeze(0)
        summed = self._loss.value_and_derivative(f.unsqueeze(0), labels.unsqueeze(0), out)
        found = [out[0]]
        for layer in range(self._config.hidden_layers + 1, 1, -1):
            if layer in self._ends:
                dx = found[-1] @ self._ends[layer]
            else:
                dx = self._transposed(layer, found[-1], purpose)
            self._phi.backward(dx, h[layer - 2], x[layer - 1])
            found.append(dx)
        return float(summed[0]) / len(f), found[::-1]

    def _moved(self, name: str, gradient: Tensor) -> Tensor:
        """The velocity that a gradient makes, or the gradient."""
        if not self._momentum:
            return gradient
        if name in self._velocity:
            gradient = self._velocity[name].mul_(self._momentum).add_(gradient)
        self._velocity[name] = gradient
        return gradient
