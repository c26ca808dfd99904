"""What a pack and its runs are, as plain values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.models import MLP, Architecture, Model
from ipcore.theory import Parameterization


@dataclass(frozen=True, slots=True)
class Schedule:
    """A factor of all learning rates that depends on the step alone (see `ipcore.engine.schedule`).

    Attributes:
        name: Name in `ipcore.catalogue.SCHEDULES`.
        warmup_steps: Updates over which the factor rises linearly, >= 0.
        final_fraction: "linear", "cosine": factor at the end, 0..1.
        milestones: "step": numbers of updates after which the factor is multiplied by `decay`.
        decay: "step": 0 < decay < 1.
    """

    name: str = "constant"
    warmup_steps: int = 0
    final_fraction: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1


@dataclass(frozen=True, slots=True)
class Probes:
    """What is measured inside the networks, and when (see `ipcore.probes`).

    Attributes:
        quantities: Names in `ipcore.catalogue.PROBES`.
        layers: Layers 1..L+1; empty: all.
        steps: States (updates done) at which they are measured, besides the multiples of `interval`.
        interval: 0: only at `steps`.
        examples: Size of the fixed set of training inputs.
    """

    quantities: tuple[str, ...]
    layers: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    interval: int = 0
    examples: int = 64


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """A run's settings of the pack's optimizer; those that it does not use are ignored.

    Attributes:
        momentum: 0 <= momentum < 1; in single precision at most 1 - 2^-18.
        beta1: Adam, 0 <= beta1 < 1.
        beta2: Adam, 0 <= beta2 < 1.
        epsilon: Adam, 0 or a number that training can hold (`ipcore.models.scales.fits`); layer l uses
            epsilon m^{-d_l}.
        weight_decay: lambda >= 0, eta lambda <= 1, decoupled: weights are multiplied by 1 - eta lambda per
            update, in total however small that is (`ipcore.engine.decay`). "adam" accepts 0 only.
    """

    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class PackConfig:
    """What all runs of a pack share: one graph, one batched matmul per layer.

    Attributes:
        dataset: Name as `ipcore.load_dataset` takes it; parameters of a family that are left out have their
            defaults.
        hidden_layers: L >= 1, as the model counts it.
        width: m >= 1.
        activation: Name in `ipcore.catalogue.ACTIVATIONS`.
        batch_size: Examples per update and run.
        steps: Updates per run, >= 1.
        loss: Name in `ipcore.catalogue.LOSSES`.
        bias: "first" or "none".
        optimizer: Name in `ipcore.catalogue.OPTIMIZERS`.
        metrics_interval: Training metrics at step 1, multiples of this, and the last step.
        evaluation_interval: Test metrics at step 0, multiples of this, and the last step; 0: only the ends.
        weights: "none", "final", "initial_and_final" or "every".
        weights_interval: Updates between kept weights with "every", else 0.
        validation_size: Training examples held out, 0: none.
        schedule: Multiplies all rates.
        probes: What is measured inside the networks; None: nothing.
        precision: Of the matmuls of an update (`ipcore.engine.precision`), a name in
            `ipcore.catalogue.PRECISIONS`.
        model: What kind of network.
    """

    dataset: str
    hidden_layers: int
    width: int
    activation: str
    batch_size: int
    steps: int
    loss: str = "cross_entropy"
    bias: str = "first"
    optimizer: str = "sgd"
    metrics_interval: int = 10
    evaluation_interval: int = 0
    weights: str = "final"
    weights_interval: int = 0
    validation_size: int = 0
    schedule: Schedule = Schedule()
    probes: Probes | None = None
    precision: str = "fp32"
    model: Model = MLP

    @property
    def layers(self) -> int:
        """Number n of weight matrices, which is that of the entries of parameterizations."""
        return self.model.layers(self.hidden_layers)

    def architecture(self, input_dim: int, output_dim: int) -> Architecture:
        """What each network is, for a dataset of these sizes."""
        return Architecture(self.model, self.hidden_layers, self.width, input_dim, output_dim)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How first rates are calibrated (see `ipcore.training.calibration`).

    Attributes:
        readout_target: Mean |Delta W^{L+1} x^L| wanted at the last layer (the published code: 1.0, or 0.1).
        cap: Largest base rate returned (the published code: 1000, or 500).
    """

    readout_target: float = 1.0
    cap: float = 1000.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What is a run's own.

    Attributes:
        parameterization: Exponents, one entry for each of the pack's layers.
        base_learning_rate: eta > 0, a number that training can hold, also times its powers of the width and
            the schedule (`ipcore.models.magnitudes`).
        seed: Keys the normals and the batches, never anything else.
        calibration: Calibrate the base rates of step 0; None: all layers use eta.
        settings: Of the optimizer.
    """

    parameterization: Parameterization
    base_learning_rate: float
    seed: int
    calibration: Calibration | None = None
    settings: OptimizerSettings = OptimizerSettings()
