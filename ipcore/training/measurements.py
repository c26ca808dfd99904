"""Measurements of a pack's networks between updates: on held-out data, and by probes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import PROBES
from ipcore.catalogue.entries import implementation
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.engine.engine import Engine
from ipcore.engine.inputs import Inputs
from ipcore.models.network import Network
from ipcore.planning.kernel_machine import pairs
from ipcore.probes.outputs import OUTPUTS
from ipcore.probes.paired import PAIRED_OUTPUTS
from ipcore.probes.prober import Prober
from ipcore.probes.quantities import inside
from ipcore.probes.single_update import Newest
from ipcore.probes.sketch import Sketch
from ipcore.training.pack_evaluation import (
    PackEvaluation,
    evaluate_networks,
    evaluate_pack,
    pack_outputs,
)
from ipcore.training.recording import Recorder, probes_due, records

if TYPE_CHECKING:
    from ipcore.limits.paired import PairedMachines


class Measurements:
    """Measures a pack and passes the points to a recorder.

    Attributes:
        prober: Prober of the networks; None: no probe measures inside them.
        paired: Kernel machines that train beside the networks; None: there are none.
    """

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        pack: Engine,
        dataset: Dataset,
        validation: Split | None,
        inputs: Inputs,
        labels: Tensor,
        seeds: Sequence[int],
    ) -> None:
        """Prepare it; the pack is initialized.

        Args:
            config: Configuration of the pack.
            runs: Runs of the pack.
            pack: The networks.
            dataset: What they train on.
            validation: Held-out part of its training set, if there is one.
            inputs: Inputs of the training set, on the device.
            labels: Labels of the training set, on the device.
            seeds: Whose batches each run sees.
        """
        self._config, self._pack, self._runs = config, pack, len(runs)
        self._splits = {"test": dataset.test} | ({} if validation is None else {"validation": validation})
        self.prober: Prober | None = None
        if (probes := inside(config.probes)) is not None:
            self.prober = Prober(config, probes, pack, runs, inputs, labels)
        self._sketch: Sketch | None = None
        if records(config, "outputs"):
            self._sketch = Sketch(len(dataset.test) * pack.shape.dims[-1])
        self.paired: PairedMachines | None = None
        if pairs(config):
            # A room above this one has it.
            machines = implementation(PROBES[PAIRED_OUTPUTS].beside)
            self.paired = machines(config, runs, seeds, pack, self._outputs(), dataset, inputs, labels)

    def held_out(self, recorder: Recorder, step: int) -> None:
        """Evaluate all runs at once on the test and validation sets."""
        self._record(recorder, step, [evaluate_pack(self._pack, split) for split in self._splits.values()])

    def probes(self, recorder: Recorder, step: int, newest: Newest | None = None) -> None:
        """Measure the probes, if they are due."""
        if not probes_due(self._config, step):
            return
        now = recorder.now_ms()
        if self.prober is not None:
            for metric, values in self.prober.measure(newest).items():
                recorder.add(metric, step, now, values)
        if self._sketch is not None:
            found = self._sketch.of(pack_outputs(self._pack, self._splits["test"]), self._runs)
            for metric, values in zip(OUTPUTS.metrics, found.T, strict=True):
                recorder.add(metric, step, now, values)
        if self.paired is not None:
            for metric, values in self.paired.measure(self._outputs()).items():
                recorder.add(metric, step, now, values)

    def updated(self, step: int, batches: Tensor, slot: Tensor) -> None:
        """Train what trains beside the networks, too.

        Args:
            step: Updates done before.
            batches: Training examples of the batch of every seed, (S, B).
            slot: Row of `batches` that belongs to each run, (K,).
        """
        if self.paired is not None:
            self.paired.update(step, batches, slot)

    def state(self) -> dict[str, Tensor]:
        """The tensors that updates change, for a checkpoint, not copies."""
        return {} if self.paired is None else self.paired.state()

    def _outputs(self) -> Tensor:
        """Outputs of all runs on the test set, (K, n, C)."""
        return torch.cat(list(pack_outputs(self._pack, self._splits["test"])), dim=1)

    def final(
        self, recorder: Recorder, step: int, live: Collection[int], network: Callable[[int], Network]
    ) -> list[int]:
        """Evaluate live runs by the public function, so that their saved weights give the same numbers.

        Args:
            recorder: Takes the points.
            step: The last step.
            live: Positions of the runs.
            network: The network of a position, on the CPU.

        Returns:
            Positions whose loss is not finite on one of the splits.
        """
        networks = ((position, network(position)) for position in live)
        results = evaluate_networks(networks, self._runs, list(self._splits.values()))
        self._record(recorder, step, results)
        return [p for p in live if not all(np.isfinite(result.loss[p]) for result in results)]

    def _record(self, recorder: Recorder, step: int, results: Sequence[PackEvaluation]) -> None:
        now = recorder.now_ms()
        for name, result in zip(self._splits, results, strict=True):
            recorder.add(f"{name}_loss", step, now, result.loss)
            if result.accuracy is not None:
                recorder.add(f"{name}_accuracy", step, now, result.accuracy)
