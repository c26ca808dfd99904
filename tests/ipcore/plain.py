"""One run trained by plain PyTorch: `torch.autograd` on w^l itself and `torch.optim`, no packs, no scales.

Written from the definitions (docs/theory.md, proto/iplab/v1/spec.proto), not from ipcore's engine. It takes
data from ipcore (configurations, exponents, initial weights, order of batches), but no arithmetic:

    h^l = m^{-a_l} w^l x^{l-1} (+ m^{-a_l} bias),   x^l = phi(h^l)
    rate of layer l at update t:  eta f(t) m^{-c_l(t)};   epsilon of layer l:  eps m^{-d_l(t)}
    matrices shrink by 1 - eta f(t) lambda before update t
    re-weighting at state s:  w^l += (rho_l(s) - rho_l(s-1)) q w_0^l,   q what decay has left, rho = m^{-k_l}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from ipcore.config import OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.models import ResidualMlp
from ipcore.models.network import Network
from ipcore.randomness import calibration_batches
from ipcore.randomness import epoch_batches as _epoch_batches

epoch_batches = cache(_epoch_batches)

PHI = {
    "relu": torch.relu,
    "leaky_relu": lambda h: torch.where(h > 0, h, 0.01 * h),
    "gelu": functional.gelu,
    "elu": functional.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h,
    "silu": functional.silu,
    "softplus": lambda h: torch.logaddexp(h, torch.zeros_like(h)),
    "erf": torch.erf,
    "abs": torch.abs,
    "sin": torch.sin,
    "relu^2": lambda h: torch.relu(h) ** 2,
    "relu^3/2": lambda h: torch.relu(h) ** 1.5,
}


def losses(name: str, f: Tensor, y: Tensor) -> Tensor:
    """The loss of every example."""
    if name == "cross_entropy":
        return functional.cross_entropy(f, y, reduction="none")
    if name == "mse":
        target = y if y.is_floating_point() else functional.one_hot(y, f.shape[1]).to(f.dtype)
        return ((f - target) ** 2).sum(dim=1) / 2
    z = (2 * y - 1).to(f.dtype) * f[:, 0]
    return torch.logaddexp(torch.zeros_like(z), -z) if name == "logistic" else torch.exp(-z)


def schedule_factor(schedule: Schedule, t: int, steps: int) -> float:
    w = schedule.warmup_steps
    rise = min(1.0, (t + 1) / (w + 1))
    p = max(0, t - w) / (steps - 1 - w) if steps - 1 > w else 0.0
    final = schedule.final_fraction
    return (
        rise
        * {
            "constant": lambda: 1.0,
            "linear": lambda: 1 + (final - 1) * p,
            "cosine": lambda: final + (1 - final) * (1 + math.cos(math.pi * p)) / 2,
            "step": lambda: schedule.decay ** sum(t >= mark for mark in schedule.milestones),
        }[schedule.name]()
    )


class ByDirection:
    """w <- w - lr direction(gradient, state), for optimizers that torch does not have."""

    def __init__(self, groups: list[dict], direction: Callable[[Tensor, dict], Tensor]) -> None:
        self.param_groups = groups
        self.direction = direction
        self.state: dict[Tensor, dict] = {tensor: {} for group in groups for tensor in group["params"]}

    def zero_grad(self) -> None:
        for tensor in self.state:
            tensor.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for tensor in group["params"]:
                tensor.sub_(group["lr"] * self.direction(tensor.grad, self.state[tensor]))


def velocity(g: Tensor, state: dict, beta: float) -> Tensor:
    state["v"] = beta * state.get("v", torch.zeros_like(g)) + g
    return state["v"]


def lion(g: Tensor, state: dict, beta1: float, beta2: float) -> Tensor:
    """Chen et al., arXiv:2302.06675, program 1."""
    kept = state.get("m", torch.zeros_like(g))
    state["m"] = beta2 * kept + (1 - beta2) * g
    return torch.sign(beta1 * kept + (1 - beta1) * g)


# Factors of orthogonalized updates with n outputs and k inputs.
MUON = {
    "muon": lambda n, k: max(1, n / k) ** 0.5,
    "muon-unscaled": lambda n, k: 1,
    "muon-spectral": lambda n, k: (n / k) ** 0.5,
    "muon-rms": lambda n, k: max(n, k) ** 0.5,
}


def muon(g: Tensor, state: dict, settings: OptimizerSettings, factor: Callable[[int, int], float]) -> Tensor:
    """Jordan's Muon by singular value decomposition instead of matmuls; a bias is a matrix with one input."""
    u = g + settings.momentum * velocity(g, state, settings.momentum)
    matrix = u if u.ndim == 2 else u.unsqueeze(1)
    if not matrix.any():
        return torch.zeros_like(g)
    left, s, right = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(settings.newton_schulz_steps if u.ndim == 2 else 0):
        s = s * (3.4445 + s * s * (2.0315 * s * s - 4.7750))
    return (factor(*matrix.shape) * (left * s) @ right).view_as(g)


class Plain:
    """A run.

    Args:
        config: Configuration of the run's pack.
        run: The run.
        start: Network at step 0.
        dataset: Training data.
        dtype: Type of the weights.
        compute: Type of activations, derivatives and the weights in matmuls.
    """

    def __init__(
        self,
        config: PackConfig,
        run: RunConfig,
        start: Network,
        dataset: Dataset,
        dtype: torch.dtype,
        compute: torch.dtype | None = None,
    ) -> None:
        self.config, self.run, self.p = config, run, run.parameterization
        self.dtype, self.compute = dtype, compute or dtype
        self.multipliers = [self.power(-a) for a in self.p.a]
        bias_a = self.p.a if self.p.biases is None else self.p.biases.a
        self.bias_multipliers = [self.power(-a) for a in bias_a]
        self.w = [w.to(dtype, copy=True).requires_grad_() for w in start.weights]
        self.b = [b.to(dtype, copy=True).requires_grad_() for b in start.biases]
        self.w_0 = [w.detach().clone() for w in self.w]
        self.left = 1.0
        self.x = torch.from_numpy(dataset.train.inputs).to(dtype)
        self.y = torch.from_numpy(dataset.train.labels)
        if self.y.is_floating_point():
            self.y = self.y.to(dtype)
        self.optimizer = self._optimizer()
        self.first_rates = self._calibrate() if run.calibration is not None else None
        self.losses: list[float] = []

    def power(self, exponent: Fraction | int) -> float:
        return float(self.config.width) ** float(exponent)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(self.compute), self.linear).to(self.dtype)

    def linear(self, i: int, x: Tensor) -> Tensor:
        h = x @ (self.multipliers[i] * self.w[i]).to(self.compute).mT
        if i < len(self.b):
            h = h + (self.bias_multipliers[i] * self.b[i]).to(self.compute)
        return h

    def network(self, x: Tensor, linear: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The outputs, where linear(i, x) applies the matrix of layer i + 1 to x."""
        apply, model, last = PHI[self.config.activation], self.config.model, len(self.w) - 1

        def phi(h: Tensor) -> Tensor:
            return apply(functional.rms_norm(h, h.shape[-1:], eps=0) if model.normalization == "rms" else h)

        if not isinstance(model, ResidualMlp):
            for i in range(last):
                x = phi(linear(i, x))
            return linear(last, x)
        L = self.config.hidden_layers
        beta = {"depth^-1/2": L**-0.5, "depth^-1": 1 / L, "1": 1}[model.branch_multiplier]
        h = linear(0, x)
        for i in range(1, last, model.block_matrices):
            branch = linear(i, phi(h))
            if model.block_matrices == 2:
                branch = linear(i + 1, phi(branch))
            h = h + beta * branch
        return linear(last, phi(h))

    def train(self) -> None:
        n, size = len(self.x), self.config.batch_size
        per_epoch = n // size
        for t in range(self.config.steps):
            rows = epoch_batches(self.run.seed, t // per_epoch, n, size)[t % per_epoch]
            self._update(t, self.x[rows], self.y[rows])

    def _update(self, t: int, x: Tensor, y: Tensor) -> None:
        settings, eta = self.run.settings, self.run.base_learning_rate
        f = schedule_factor(self.config.schedule, t, self.config.steps)
        self.optimizer.zero_grad()
        loss = losses(self.config.loss, self.forward(x), y).mean()
        loss.backward()
        self.losses.append(loss.item())
        phase = self.p.phase_at(t)
        for i, group in enumerate(self.optimizer.param_groups[: len(self.w)]):
            base = self.first_rates[i] if self.first_rates is not None and t == 0 else eta
            group["lr"] = base * f * self.power(-phase.c[i])
            if self.config.optimizer == "adamw":  # which multiplies by 1 - lr weight_decay
                group["weight_decay"] = settings.weight_decay * self.power(phase.c[i])
            if phase.d is not None and "eps" in group:
                group["eps"] = settings.epsilon * self.power(-phase.d[i])
        own = self.p.biases.phase_at(t) if self.p.biases is not None else phase
        for i, group in enumerate(self.optimizer.param_groups[len(self.w) :]):
            group["lr"] = eta * f * self.power(-own.c[i])
            if own.d is not None and "eps" in group:
                group["eps"] = settings.epsilon * self.power(-own.d[i])
        kept = 1 - eta * f * settings.weight_decay
        with torch.no_grad():
            if self.config.optimizer not in ("adam", "adamw") and settings.weight_decay:
                for w in self.w:
                    w.mul_(kept)
            self.optimizer.step()
            self.left *= kept
            self._reweight(t + 1)

    def _reweight(self, state: int) -> None:
        def counts(k: Fraction | None) -> float:
            return 0.0 if k is None else self.power(-k)

        for i, (before, now) in enumerate(zip(self.p.k_at(state - 1), self.p.k_at(state), strict=True)):
            if before != now:
                self.w[i].add_((counts(now) - counts(before)) * self.left * self.w_0[i])

    def _optimizer(self) -> torch.optim.Optimizer | ByDirection:
        groups = [{"params": [tensor], "lr": 0.0} for tensor in (*self.w, *self.b)]
        s = self.run.settings
        match self.config.optimizer:
            case "sgd":
                return torch.optim.SGD(groups, foreach=False)
            case "momentum":
                return torch.optim.SGD(groups, momentum=s.momentum, foreach=False)
            case "signum":
                return ByDirection(groups, lambda g, state: torch.sign(velocity(g, state, s.momentum)))
            case "lion":
                return ByDirection(groups, lambda g, state: lion(g, state, s.beta1, s.beta2))
            case name if name in MUON:
                return ByDirection(groups, lambda g, state: muon(g, state, s, MUON[name]))
        make = torch.optim.Adam if self.config.optimizer == "adam" else torch.optim.AdamW
        return make(groups, betas=(s.beta1, s.beta2), eps=s.epsilon, weight_decay=0.0, foreach=False)

    def _calibrate(self) -> list[float]:
        """Base rates of step 0 (docs/theory.md): the update of base rate 1, measured on another batch."""
        calibration = self.run.calibration
        assert calibration is not None
        one, two = calibration_batches(len(self.x), self.config.batch_size)
        tensors = [*self.w, *self.b]
        loss = losses(self.config.loss, self.forward(self.x[one]), self.y[one]).mean()
        gradients = torch.autograd.grad(loss, tensors)
        rates = [self.run.base_learning_rate]
        c = self.p.c_at(0)

        def updated(i: int, x: Tensor) -> Tensor:
            scale = self.power(-self.p.a[i])
            effect = x @ (-self.power(-c[i]) * gradients[i] * scale).mT
            h = x @ (scale * self.w[i]).mT
            if i == 0 and self.b:
                effect = effect - self.power(-c[0]) * scale * gradients[len(self.w)]
                h = h + scale * self.b[0]
            if i > 0:
                mean = effect.abs().mean().item()
                target = calibration.readout_target if i == len(self.w) - 1 else 1.0
                rates.append(target / mean if mean > 0 else calibration.cap)
            return h + rates[i] * effect

        with torch.no_grad():
            self.network(self.x[two], updated)
        return [rates[0], *(min(rate, calibration.cap) for rate in rates[1:])]
