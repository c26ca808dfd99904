"""Memory of an engine and its optimizer, before anything is allocated. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.catalogue import OPTIMIZERS, find_activation
from ipcore.config import OptimizerSettings, PackConfig
from ipcore.models import HAND_WRITTEN, Architecture
from ipcore.models.tally import tally


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Bytes per run of an engine.

    Attributes:
        weights: Weights and biases.
        optimizer: Velocity or moments, settings, and working memory of an update.
        buffers: Activations, derivatives, indices, labels and losses of one batch.
    """

    weights: int
    optimizer: int
    buffers: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.optimizer + self.buffers


def engine_memory(
    config: PackConfig,
    architecture: Architecture,
    target_dim: int,
    itemsize: int = 4,
    *,
    own_biases: bool = False,
) -> EngineMemory:
    """Memory of each run of an engine, by part.

    Args:
        config: Configuration of the pack.
        architecture: Architecture of each network.
        target_dim: Real numbers per label; 0: labels are classes.
        itemsize: Bytes per number: 4, or 8 in double precision.
        own_biases: Whether some run of the pack has biases with exponents of their own, in every layer.
    """
    B, outputs = config.batch_size, architecture.output_dim
    sizes = [a * b for a, b in architecture.matrices]
    biases = architecture.outputs[: len(sizes) if own_biases else config.bias == "first"]
    weights = sum(sizes) + sum(biases)
    by_hand = config.model in HAND_WRITTEN
    activations = B * (_pack_values if by_hand else _autograd_values)(config, architecture)
    numbers = B * outputs + 1
    rounded = itemsize
    if config.precision == "bf16":
        rounded = 2
        # Copies that matmuls read, a gradient, the output's derivative; and the outputs in full.
        activations += weights + max(sizes) + B * outputs
    if config.precision == "bf16" or not by_hand:
        numbers += B * outputs
    return EngineMemory(
        weights=itemsize * weights,
        optimizer=_optimizer(config, architecture, weights, itemsize, own_biases),
        # Indices are 4 bytes, labels 8 (classes) or numbers.
        buffers=rounded * activations + itemsize * (numbers + B * target_dim) + (4 if target_dim else 12) * B,
    )


def _pack_values(config: PackConfig, architecture: Architecture) -> int:
    """Numbers per example that `ipcore.engine.pack` holds; two derivatives take turns."""
    split = find_activation(config.activation).keeps_preactivation
    values = architecture.input_dim + sum(architecture.outputs)
    values += sum(architecture.outputs[:-1]) if split else 0
    return values + min(2, config.hidden_layers) * config.width


def _autograd_values(config: PackConfig, architecture: Architecture) -> int:
    """Numbers per example that `ipcore.engine.autograd` holds; most derivatives lie over dead values."""
    counted = tally(architecture)
    split = find_activation(config.activation).keeps_preactivation
    values = counted.values - (0 if split else counted.spared)
    return architecture.input_dim + values + counted.derivatives


def _optimizer(
    config: PackConfig, architecture: Architecture, weights: int, itemsize: int, own_biases: bool
) -> int:
    kept, shapes = OPTIMIZERS[config.optimizer].kept, architecture.matrices
    numbers = kept.copies * weights + kept.gradients * max(a * b for a, b in shapes)
    numbers += kept.grams * max(min(shape) for shape in shapes) ** 2
    numbers += kept.numbers + kept.per_tensor * (1 + own_biases) * len(shapes)
    numbers += kept.coefficients * OptimizerSettings().newton_schulz_steps  # a run may have other ones
    return itemsize * numbers + 8 * kept.doubles
