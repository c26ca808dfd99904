"""Configuration of packs and runs as plain values. Standard library only.

Types, ranges and defaults are declared here and in `ipcore.catalogue`, once: the trainer and the service
check against them, and the service fills in these defaults (`ipcore.catalogue.settings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ipcore.catalogue import BIASES, KEPT_WEIGHTS, LOSSES, OPTIMIZERS, PRECISIONS
from ipcore.catalogue.optimizers import OptimizerSettings
from ipcore.catalogue.rules import Held, Interval, OneOf
from ipcore.catalogue.schedules import Schedule
from ipcore.models import MLP, Architecture, Model
from ipcore.theory import Parameterization

__all__ = ["Calibration", "OptimizerSettings", "PackConfig", "Probes", "RunConfig", "Schedule"]


@dataclass(frozen=True, slots=True)
class Probes:
    """Measurements inside the networks, and their steps (see `ipcore.probes`).

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
class PackConfig:
    """Settings that all runs of a pack share: one graph, one batched matmul per layer.

    Attributes:
        dataset: Name as `ipcore.load_dataset` takes it; parameters of a family that are left out have their
            defaults.
        hidden_layers: L, as the model counts it.
        width: m.
        activation: Name in `ipcore.catalogue.ACTIVATIONS`.
        batch_size: Examples per update and run.
        steps: Updates per run.
        loss: Name in `ipcore.catalogue.LOSSES`.
        bias: Name in `ipcore.catalogue.BIASES`.
        optimizer: Name in `ipcore.catalogue.OPTIMIZERS`.
        metrics_interval: Training metrics at step 1, multiples of this, and the last step.
        evaluation_interval: Test metrics at step 0, multiples of this, and the last step; 0: only the ends.
        weights: Name in `ipcore.catalogue.KEPT_WEIGHTS`.
        weights_interval: Updates between kept weights, at least 1 with weights "every".
        validation_size: Training examples held out, 0: none.
        schedule: Schedule of factors of all rates.
        probes: Measurements inside the networks; None: none.
        precision: Precision of the matmuls of an update (`ipcore.engine.precision`), a name in
            `ipcore.catalogue.PRECISIONS`.
        model: Kind of network, with its settings.
        infinite_width: The limit m = infinity instead of a network (`ipcore.limits`). `width` is then the
            number N of particles per layer; a kernel's limit needs none.
        replicas: Independent systems of particles that are averaged; their differences give the error.
        deferred: Initial hidden matrices are drawn only where training looks at them (`ipcore.limits`).
    """

    dataset: str
    hidden_layers: Annotated[int, Interval(1)]
    width: Annotated[int, Interval(1)]
    activation: str
    batch_size: Annotated[int, Interval(1)]
    steps: Annotated[int, Interval(1)]
    loss: Annotated[str, OneOf("loss", LOSSES)] = "cross_entropy"
    bias: Annotated[str, OneOf("bias", BIASES)] = "first"
    optimizer: Annotated[str, OneOf("optimizer", OPTIMIZERS)] = "sgd"
    metrics_interval: Annotated[int, Interval(1)] = 10
    evaluation_interval: Annotated[int, Interval(0)] = 0
    weights: Annotated[str, OneOf("choice of weights", KEPT_WEIGHTS)] = "final"
    weights_interval: Annotated[int, Interval(0)] = 0
    validation_size: Annotated[int, Interval(0)] = 0
    schedule: Schedule = Schedule()
    probes: Probes | None = None
    precision: Annotated[str, OneOf("precision", PRECISIONS)] = "fp32"
    model: Model = MLP
    infinite_width: bool = False
    replicas: Annotated[int, Interval(1, 1024)] = 4
    deferred: bool = False

    @property
    def layers(self) -> int:
        """Number n of weight matrices, as many as entries of parameterizations."""
        return self.model.layers(self.hidden_layers)

    def architecture(self, input_dim: int, output_dim: int) -> Architecture:
        """Architecture of each network, for a dataset of these sizes."""
        return Architecture(self.model, self.hidden_layers, self.width, input_dim, output_dim)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Settings of the calibration of first rates (see `ipcore.training.calibration`).

    Attributes:
        readout_target: Mean |Delta W^{L+1} x^L| wanted at the last layer (the published code: 1.0, or 0.1).
        cap: Largest base rate returned (the published code: 1000, or 500).
    """

    readout_target: Annotated[float, Held()] = 1.0
    cap: Annotated[float, Held()] = 1000.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of one run.

    Attributes:
        parameterization: Exponents, one entry for each of the pack's layers.
        base_learning_rate: eta > 0, a number that training can hold, also times its powers of the width and
            the schedule (`ipcore.models.magnitudes`).
        seed: Keys the normals and the batches, and nothing else.
        calibration: Calibrate the base rates of step 0; None: all layers use eta.
        settings: Settings of the optimizer.
    """

    parameterization: Parameterization
    base_learning_rate: Annotated[float, Held()]
    seed: Annotated[int, Interval(0, 2**32 - 1)]
    calibration: Calibration | None = None
    settings: OptimizerSettings = OptimizerSettings()


def calibration_misfit(optimizer: str, *, own_biases: bool) -> str:
    """Why first rates cannot be calibrated (`ipcore.training.calibration`); "" if they can.

    Args:
        optimizer: Name of the optimizer.
        own_biases: Whether biases have exponents of their own.
    """
    if optimizer in OPTIMIZERS and OPTIMIZERS[optimizer].entrywise:
        others = [name for name, entry in OPTIMIZERS.items() if not entry.entrywise]
        return (
            f"is defined only for gradient steps; with {optimizer} an update has the size of its rate, "
            f"whatever the gradient: leave it out, or use {' or '.join(others)}"
        )
    if own_biases:
        return (
            "is not defined for biases with exponents of their own (ip-bias): first updates are of order 1 "
            "as they are; leave it out, or use ip-llr"
        )
    return ""


def size_problems(batch_size: int, validation_size: int, train_size: int) -> list[tuple[str, str]]:
    """Whether a validation set and batches fit a training set, as (field of `PackConfig`, sentence).

    >>> size_problems(8, 35, train_size=40)[0][0]
    'batch_size'
    """
    if train_size < 1:
        return [("dataset", "its training set is empty")]
    if validation_size >= train_size:
        text = f"must leave some of the {train_size:,} training examples, not {validation_size}"
        return [("validation_size", text)]
    left = train_size - max(0, validation_size)
    if batch_size <= left:
        return []
    outside = f" outside the validation set ({left:,} of {train_size:,}); lower one of them"
    text = f"{batch_size} is more than the {left:,} training examples{outside if validation_size > 0 else ''}"
    return [("batch_size", text)]
