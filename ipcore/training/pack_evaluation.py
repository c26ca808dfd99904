"""Evaluations of all runs of a pack: at once while they train, one by one at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.data import Split
from ipcore.engine.engine import Engine
from ipcore.engine.losses import correct
from ipcore.engine.threads import thread_count
from ipcore.models.network import Network
from ipcore.planning.memory import EVALUATION_ROWS
from ipcore.training.evaluation import evaluate


@dataclass(frozen=True, eq=False, slots=True)
class PackEvaluation:
    """Metrics of the runs of a pack on a split.

    Attributes:
        loss: Mean over examples, (K,); NaN for runs that were left out.
        accuracy: Likewise, 0..1; None if labels are not classes.
    """

    loss: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64] | None


def evaluate_pack(pack: Engine, split: Split) -> PackEvaluation:
    """Evaluate all runs at once, on the pack's device."""
    runs, values = pack.shape.runs, pack.loss.values
    classes = np.issubdtype(split.labels.dtype, np.integer)
    loss = torch.zeros(runs, dtype=torch.float64, device=pack.device)
    hits = torch.zeros(runs, dtype=torch.int64, device=pack.device)
    for inputs, labels in _chunks(pack, split):
        outputs = pack.infer(inputs)
        loss += values(outputs, labels.expand(runs, *labels.shape)).sum(dim=1, dtype=torch.float64)
        if classes:
            hits += correct(outputs, labels).sum(dim=1)
    accuracy = hits.cpu().numpy() / len(split) if classes else None
    return PackEvaluation(loss.cpu().numpy() / len(split), accuracy)


def pack_outputs(pack: Engine, split: Split) -> Iterator[Tensor]:
    """Outputs of all runs at consecutive inputs of a split, (K, b, C) each, on the pack's device."""
    for inputs, _ in _chunks(pack, split):
        yield pack.infer(inputs)


def evaluate_networks(
    networks: Iterable[tuple[int, Network]], runs: int, splits: Sequence[Split]
) -> list[PackEvaluation]:
    """Evaluate networks by the public function, so that saved weights give the same numbers.

    Args:
        networks: (position, network) of the runs to evaluate.
        runs: K.
        splits: Splits to evaluate on.
    """
    loss = np.full((len(splits), runs), np.nan)
    accuracy = np.full((len(splits), runs), np.nan)
    with thread_count(1):  # Set once, not around each evaluation: changing it starts and stops threads.
        for position, network in networks:
            for i, split in enumerate(splits):
                result = evaluate(network, split)
                loss[i, position] = result.loss
                if result.accuracy is not None:
                    accuracy[i, position] = result.accuracy
    classes = [np.issubdtype(split.labels.dtype, np.integer) for split in splits]
    return [PackEvaluation(loss[i], accuracy[i] if has else None) for i, has in enumerate(classes)]


def _chunks(pack: Engine, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(pack.shape.batch_size, EVALUATION_ROWS)
    for start in range(0, len(split), size):
        inputs = torch.from_numpy(split.inputs[start : start + size])
        labels = torch.from_numpy(split.labels[start : start + size])
        if labels.is_floating_point():
            labels = labels.to(pack.dtype)
        yield inputs.to(pack.device, pack.dtype), labels.to(pack.device)
