"""The runs of a `LimitTrainer`: replicas of particles, a kernel machine, or deferred weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import OPTIMIZERS, find_activation, output_dim
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES
from ipcore.engine.schedule import factor
from ipcore.limits.deferred_network import DeferredNetwork
from ipcore.limits.first_rates import first_rates
from ipcore.limits.kernel_machine import KernelMachine, used_rows
from ipcore.limits.kernels import Kernels
from ipcore.limits.limit import Limit
from ipcore.limits.particles import Particles, below
from ipcore.limits.pieces import pieces
from ipcore.limits.problem import Problem
from ipcore.models.activations import activation
from ipcore.randomness import calibration_batches, epoch_batches


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """Training data of a pack's runs, and the inputs at which f is evaluated, on the device that trains.

    Attributes:
        dataset: Its sizes.
        inputs: Training inputs, (n, d).
        labels: (n,) or (n, k).
        places: Other inputs by name ("test"), (k, d) each.
    """

    dataset: Dataset
    inputs: Tensor
    labels: Tensor
    places: Mapping[str, Tensor]

    def calibration(self, batch_size: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Inputs and labels of batch 1, and inputs of batch 2."""
        batches = calibration_batches(len(self.inputs), batch_size)
        one, two = (torch.from_numpy(rows).to(self.inputs.device) for rows in batches)
        return (self.inputs[one], self.labels[one]), self.inputs[two]


class Learner(Protocol):
    """One run.

    Attributes:
        calibrated: First base rates by layer; None: not calibrated.
    """

    calibrated: tuple[float, ...] | None

    def update(self, step: int, batch: Tensor) -> Tensor:
        """The update after `step` others on these rows; returns f before it, (R, B, C) of R replicas."""
        ...

    def outputs(self, place: str) -> Tensor:
        """Outputs at a place, (R, k, C)."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        ...


class _Course:
    """Schedule and weight decay of a run."""

    def __init__(self, config: PackConfig, run: RunConfig) -> None:
        self._config, self._eta = config, run.base_learning_rate
        uses = OPTIMIZERS[config.optimizer].settings
        self._decay = run.settings.weight_decay if "weight_decay" in uses else 0.0
        self.momentum = run.settings.momentum if OPTIMIZERS[config.optimizer].accumulates else 0.0

    def at(self, step: int) -> tuple[float, float]:
        """The schedule's factor q, and 1 - eta q lambda."""
        q = factor(self._config.schedule, step, self._config.steps)
        return q, 1 - self._eta * q * self._decay


class ParticleLearner:
    """R replicas of a system of particles."""

    def __init__(
        self, config: PackConfig, run: RunConfig, material: Material, limit: Limit, dtype: torch.dtype
    ) -> None:
        self._material, self._course, self._limit = material, _Course(config, run), limit
        self._eta = run.base_learning_rate
        problem = Problem(
            hidden_layers=config.hidden_layers,
            particles=config.width,
            input_dim=material.dataset.input_dim,
            outputs=output_dim(config.loss, material.dataset.info),
            activation=activation(config.activation),
            variance=find_activation(config.activation).variance,
            biased=config.bias == "first",
            loss=LOSSES[config.loss],
            batch_size=config.batch_size,
            steps=config.steps,
            momentum=self._course.momentum,
            carries=limit.carries,
            revives=limit.revives,
            seed=run.seed,
            dtype=dtype,
            device=material.inputs.device,
        )
        self.replicas = [Particles(problem, replica) for replica in range(config.replicas)]
        self.calibrated: tuple[float, ...] | None = None
        if run.calibration is not None:
            self.calibrated = first_rates(
                problem,
                config.replicas,
                *material.calibration(config.batch_size),
                self._eta,
                run.calibration,
                keeps_initial=limit.keeps_initial,
            )

    def update(self, step: int, batch: Tensor) -> Tensor:
        """As `Learner.update`."""
        layers = len(self._limit.first)
        base = self.calibrated if step == 0 and self.calibrated else (self._eta,) * layers
        q, keep = self._course.at(step)
        learns = self._limit.first if step == 0 else self._limit.later
        rates = [rate * q * does for rate, does in zip(base, learns, strict=True)]
        inputs, labels = self._material.inputs[batch], self._material.labels[batch]
        return torch.stack([one.update(inputs, labels, rates, keep)[1] for one in self.replicas])

    def outputs(self, place: str) -> Tensor:
        """As `Learner.outputs`."""
        inputs = self._material.places[place]
        return torch.stack(
            [torch.cat([one.outputs(part) for part in pieces(inputs)]) for one in self.replicas]
        )

    def state(self) -> dict[str, Tensor]:
        """As `Learner.state`."""
        states = enumerate(one.state() for one in self.replicas)
        return {f"{i}/{name}": tensor for i, state in states for name, tensor in state.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """As `Learner.load_state`."""
        for i, one in enumerate(self.replicas):
            one.load_state(below(tensors, f"{i}/"))


class KernelLearner:
    """A kernel machine."""

    calibrated: tuple[float, ...] | None = None

    def __init__(
        self, config: PackConfig, run: RunConfig, material: Material, limit: Limit, data_seed: int
    ) -> None:
        self._course, self._eta = _Course(config, run), run.base_learning_rate
        rows = used_rows(batches_of(config, data_seed, len(material.inputs)))
        self._labels = material.labels
        biased = config.bias == "first"
        kernels = Kernels(
            config.hidden_layers,
            config.activation,
            material.dataset.input_dim,
            biased=biased,
            learns=limit.later,
        )
        self.machine = KernelMachine(
            kernels,
            Inputs(material.inputs),
            torch.from_numpy(rows).to(material.inputs.device),
            material.places,
            outputs=output_dim(config.loss, material.dataset.info),
            loss=LOSSES[config.loss],
            momentum=self._course.momentum,
            seed=run.seed,
            starts_at_zero=limit.starts_at_zero,
        )

    def update(self, step: int, batch: Tensor) -> Tensor:
        """As `Learner.update`."""
        return self.machine.update(batch, self._labels[batch], [self._eta * self._course.at(step)[0]])

    def outputs(self, place: str) -> Tensor:
        """As `Learner.outputs`."""
        return self.machine.outputs(place)

    def state(self) -> dict[str, Tensor]:
        """As `Learner.state`."""
        return self.machine.state()

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """As `Learner.load_state`."""
        self.machine.load_state(tensors)


class DeferredLearner:
    """A network of finite width with deferred weights."""

    def __init__(self, config: PackConfig, run: RunConfig, material: Material, dtype: torch.dtype) -> None:
        self._material, self._course = material, _Course(config, run)
        self._eta, self._layers = run.base_learning_rate, config.layers
        outputs = output_dim(config.loss, material.dataset.info)
        self.network = DeferredNetwork(
            config, run, material.dataset.input_dim, outputs, dtype=dtype, device=material.inputs.device
        )
        self.calibrated: tuple[float, ...] | None = None
        if run.calibration is not None:
            self.calibrated = self.network.first_rates(*material.calibration(config.batch_size))

    def update(self, step: int, batch: Tensor) -> Tensor:
        """As `Learner.update`."""
        base = self.calibrated if step == 0 and self.calibrated else (self._eta,) * self._layers
        q, keep = self._course.at(step)
        inputs, labels = self._material.inputs[batch], self._material.labels[batch]
        return self.network.update(inputs, labels, base, q, keep)[1][None]

    def outputs(self, place: str) -> Tensor:
        """As `Learner.outputs`."""
        return self.network.outputs(self._material.places[place])[None]

    def state(self) -> dict[str, Tensor]:
        """As `Learner.state`."""
        return self.network.state()

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """As `Learner.load_state`."""
        self.network.load_state(tensors)


def batches_of(config: PackConfig, seed: int, examples: int) -> Sequence[np.ndarray]:
    """Rows of the batches of all updates, in order."""
    found: list[np.ndarray] = []
    epoch = 0
    while len(found) < config.steps:
        found += list(epoch_batches(seed, epoch, examples, config.batch_size))
        epoch += 1
    return found[: config.steps]
