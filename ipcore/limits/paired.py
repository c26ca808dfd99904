"""Kernel machines beside the networks of a pack: what the probe `paired_outputs` records.

Each starts from the f_0 of its own network, and learns from the same batches at the same rates. Runs that see
the same batches share the kernel. A run whose limit is not such a machine has none, and records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.catalogue import OPTIMIZERS, output_dim
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.engine import Engine
from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES
from ipcore.engine.schedule import factor
from ipcore.limits.kernel_machine import KernelMachine, used_rows
from ipcore.limits.kernels import Kernels
from ipcore.limits.kinds import limit_of_run
from ipcore.limits.learners import batches_of
from ipcore.limits.limit import Limit
from ipcore.limits.pieces import pieces
from ipcore.models.apply import apply
from ipcore.probes.paired import PAIRED
from ipcore.probes.sketch import Sketch

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Machines that see the same batches.

    Attributes:
        positions: Of their runs in the pack.
        machine: All of them.
    """

    positions: tuple[int, ...]
    machine: KernelMachine


class PairedMachines:
    """The machines of a pack.

    Args:
        config: Configuration of the pack.
        runs: Runs of the pack.
        seeds: The seed whose batches each run sees, K of them.
        pack: The networks at step 0; only read.
        start: Their outputs on the test set, (K, n, C).
        dataset: Has the test set.
        inputs: Inputs of the training set, on the device.
        labels: Labels of the training set, on the device.
    """

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        seeds: Sequence[int],
        pack: Engine,
        start: Tensor,
        dataset: Dataset,
        inputs: Inputs,
        labels: Tensor,
    ) -> None:
        self._config, self._runs, self._labels = config, tuple(runs), labels
        self._sketch = Sketch(start[0].numel())
        test = torch.from_numpy(dataset.test.inputs).to(pack.device)
        members: dict[tuple[int, tuple[bool, ...], float], list[int]] = {}
        momentum = OPTIMIZERS[config.optimizer].accumulates
        for position, (run, seed) in enumerate(zip(runs, seeds, strict=True)):
            limit = limit_of_run(config, run)
            if isinstance(limit, Limit) and limit.is_paired:
                key = seed, limit.later, run.settings.momentum if momentum else 0.0
                members.setdefault(key, []).append(position)
        self._groups: list[_Group] = []
        for (seed, learns, beta), positions in members.items():
            rows = used_rows(batches_of(config, seed, len(inputs)))
            machine = KernelMachine(
                Kernels(
                    config.hidden_layers,
                    config.activation,
                    dataset.input_dim,
                    biased=config.bias == "first",
                    learns=learns,
                ),
                inputs,
                torch.from_numpy(rows).to(pack.device),
                {"test": test},
                outputs=output_dim(config.loss, dataset.info),
                loss=LOSSES[config.loss],
                momentum=beta,
                runs=len(positions),
            )
            first = [_outputs(pack, position, inputs, machine.rows) for position in positions]
            machine.start(torch.stack(first), {"test": start[positions]})
            self._groups.append(_Group(tuple(positions), machine))

    def update(self, step: int, batches: Tensor, slot: Tensor) -> None:
        """The update after `step` others.

        Args:
            step: Updates done.
            batches: Training examples of the batch of every seed, (S, B).
            slot: Row of `batches` that belongs to each run, (K,).
        """
        q = factor(self._config.schedule, step, self._config.steps)
        for group in self._groups:
            rows = batches[slot[group.positions[0]]].long()
            rates = [self._runs[position].base_learning_rate * q for position in group.positions]
            group.machine.update(rows, self._labels[rows], rates)

    def measure(self, outputs: Tensor) -> dict[str, Floats]:
        """The recorded values by metric, (K,) each; NaN for runs without a machine.

        Args:
            outputs: Of the networks on the test set, (K, n, C).
        """
        found = np.full((len(PAIRED.metrics), len(outputs)), np.nan)
        for group in self._groups:
            machine, positions = group.machine, list(group.positions)
            g = machine.outputs("test")
            off, moved = outputs[positions].double() - g, g - machine.first("test")
            sums = self._sketch.of([off], len(positions)).T
            unit = moved.square().mean(dim=(1, 2)).cpu().numpy()
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = np.sqrt(sums[0] / unit)
            found[:, positions] = [distance, unit, *sums[1:]]
        return dict(zip(PAIRED.metrics, found, strict=True))

    def state(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint must hold, not copies. f_0 is that of step 0."""
        return {
            f"paired/{i}/{name}": tensor
            for i, group in enumerate(self._groups)
            for name, tensor in group.machine.state().items()
        }


def _outputs(pack: Engine, position: int, inputs: Inputs, rows: Tensor) -> Tensor:
    """Outputs of one network at training examples, (n, C)."""
    shape, here = pack.shape, slice(position, position + 1)
    weights, biases = ([tensor[here] for tensor in tensors] for tensors in (pack.weights, pack.biases))
    return torch.cat(
        [
            apply(shape.architecture, pack.activation, weights, biases, inputs.at(part))[0]
            for part in pieces(rows)
        ]
    )
