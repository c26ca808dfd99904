"""What a pack and its runs are, as plain values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.theory import Parameterization


@dataclass(frozen=True, slots=True)
class PackConfig:
    """What all runs of a pack share: one graph, one batched matmul per layer.

    Attributes:
        dataset: Name in `ipcore.catalogue.DATASETS`.
        hidden_layers: L >= 1.
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


@dataclass(frozen=True, slots=True)
class Calibration:
    """How first rates are calibrated (see `ipcore.calibration`).

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
        parameterization: Exponents at the pack's depth.
        base_learning_rate: eta > 0.
        seed: Keys the normals and the batches, never anything else.
        calibration: Calibrate the base rates of step 0; None: all layers use eta.
    """

    parameterization: Parameterization
    base_learning_rate: float
    seed: int
    calibration: Calibration | None = None
