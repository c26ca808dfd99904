"""The public evaluation, from which all final metrics come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ipcore.data import Split
from ipcore.engine.losses import LOSSES, correct
from ipcore.engine.threads import thread_count
from ipcore.models.network import Network
from ipcore.planning.memory import EVALUATION_CHUNK


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics on a split.

    Attributes:
        loss: Mean over examples, in nats where it is a likelihood.
        accuracy: Fraction of correctly classified examples (`ipcore.engine.losses.correct`), 0..1; None where
            labels are real-valued targets.
    """

    loss: float
    accuracy: float | None


def evaluate(network: Network, split: Split) -> Evaluation:
    """Loss and accuracy of a network.

    The same weights give the same numbers bit for bit, whatever the caller's thread count and wherever they
    were trained: it runs on the CPU, on one thread, in fixed chunks, and sums in double precision. (Of one
    machine type and one version of torch, that is: matmul kernels differ between them.)

    Args:
        network: Trained or not.
        split: Inputs (n, d) and labels (n,) or (n, k), n >= 1.

    Raises:
        ValueError: An empty split, or inputs of another dimension.
    """
    if not len(split) or split.inputs.shape[1] != network.input_dim:
        raise ValueError(f"needs inputs of shape (n >= 1, {network.input_dim}), not {split.inputs.shape}")
    values = LOSSES[network.loss].values
    classes = np.issubdtype(split.labels.dtype, np.integer)
    total, hits = 0.0, 0
    with thread_count(1), torch.inference_mode():
        for start in range(0, len(split), EVALUATION_CHUNK):
            # Copies, not views: torch aligns its own memory, and kernels may round by alignment.
            inputs = torch.tensor(split.inputs[start : start + EVALUATION_CHUNK], dtype=network.dtype)
            labels = torch.tensor(split.labels[start : start + EVALUATION_CHUNK])
            if not classes:
                labels = labels.to(network.dtype)
            logits = network.forward(inputs)
            total += float(values(logits, labels).sum(dtype=torch.float64))
            if classes:
                hits += int(correct(logits, labels).sum())
    return Evaluation(total / len(split), hits / len(split) if classes else None)
