"""Training of the networks of a pack, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import output_dim
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.choice import engine_of
from ipcore.engine.engine import Engine, PackShape
from ipcore.engine.extraction import extract
from ipcore.engine.initialization import initialize
from ipcore.engine.inputs import training_inputs
from ipcore.engine.optimizers import make_optimizer
from ipcore.engine.precision import compute_dtype
from ipcore.engine.rates import Rates
from ipcore.engine.replay import replay_on
from ipcore.engine.reweighting import reweight, reweighting_steps
from ipcore.errors import ConfigError
from ipcore.models.network import Network
from ipcore.models.scales import biased_layers
from ipcore.planning.memory import LOSS_WINDOW
from ipcore.probes.single_update import Newest
from ipcore.training.batches import Batches
from ipcore.training.calibration import calibrated_rates
from ipcore.training.holdout import split_training
from ipcore.training.measurements import Measurements
from ipcore.training.recording import Recorder, test_metrics_due, training_metrics_due
from ipcore.training.slices import SlicedTrainer


class Trainer(SlicedTrainer):
    """K runs trained together.

    Training metrics of step s are those of the batch of update s, before it; test and validation metrics are
    those of the state after s updates, and at the last step come from `ipcore.evaluate`. A run has diverged
    at the first update whose training loss is not finite, or at the last step if its test or validation loss
    is not: from there on it stays in the batch but nothing of it is recorded.

    Attributes:
        pack: The networks and their engine.
        measurements: Measurements of the networks between updates.

    Raises:
        ConfigError: These runs cannot be trained as one pack on this dataset; names every reason.
    """

    # Raise this when the content of `state`, or its meaning, changes.
    format: Final = "iplab-checkpoint/1"

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
        clock: Callable[[], float] = time.time,
        engine: type[Engine] | None = None,
        data_seed: int | None = None,
    ) -> None:
        """Prepare training.

        Args:
            config: Configuration of the pack.
            runs: Runs of the pack.
            dataset: What they train on.
            device: See the class.
            threads: See the class.
            dtype: Number format of weights: single or double precision.
            clock: Seconds since 1970, for the times of points.
            engine: The engine that trains them; None: the fastest for the model.
            data_seed: All runs see the batches of this seed; None: each run those of its own seed.
        """
        if config.infinite_width or config.deferred:
            raise ConfigError(["infinite_width, deferred: are for ipcore.limits.trainer.trainer_of"])
        super().__init__(config, runs, dataset, device=device, threads=threads, dtype=dtype, clock=clock)
        config, runs = self.config, self.runs
        if config.precision == "tf32" and self.device.type != "cuda":
            raise ConfigError(["precision: 'tf32' is for CUDA; on the CPU use 'fp32' or 'bf16'"])
        train, validation = split_training(dataset, config.validation_size)
        outputs = output_dim(config.loss, dataset.info)
        biases = max(biased_layers(run.parameterization, config.bias) for run in runs)
        architecture = config.architecture(dataset.input_dim, outputs)
        shape = PackShape(len(self.runs), architecture, config.batch_size, biases, dataset.target_dim)
        self._inputs = training_inputs(train, dtype, self.device)
        self._labels = torch.from_numpy(train.labels).to(self.device, dtype if dataset.target_dim else None)
        seeds = [r.seed if data_seed is None else data_seed for r in runs]
        self._batches = Batches(seeds, len(train), config.batch_size, self.device)
        compute = compute_dtype(config.precision, dtype)
        make = engine or engine_of(config.model)
        self.pack: Engine = make(shape, config.activation, config.loss, dtype, self.device, compute)
        self._optimizer = make_optimizer(config, self.runs, self.pack)
        self._batch = torch.zeros_like(self._batches.at(1))
        self._update = replay_on(self.device, self._operations())
        self._reweightings = reweighting_steps(self.runs)
        self._history = torch.zeros((LOSS_WINDOW, shape.runs), dtype=dtype, device=self.device)
        with self._numerics():
            initialize(self.pack, config, self.runs)
            self.measurements = Measurements(
                config, self.runs, self.pack, dataset, validation, self._inputs, self._labels, seeds
            )
            found = calibrated_rates(self.pack, config, self.runs, self._inputs, self._labels)
        self.calibrated_rates = found
        self._rates = Rates(config, self.runs, self.calibrated_rates, self.pack)

    @property
    def dims(self) -> tuple[int, ...]:
        """Input dimension and the output dimension of each layer."""
        return self.pack.shape.dims

    def network(self, position: int) -> Network:
        """The network of a run as it is now, on the CPU; holds w^l = m^{a_l} W^l."""
        return extract(self.pack, self.config, self.runs[position], position, self.step)

    def state(self) -> dict[str, Tensor]:
        """The content of a checkpoint, by name: views that are valid until the next update."""
        tensors = self._trained()
        tensors["step"] = torch.tensor(self.step)
        tensors |= self._standing.state()
        rates = [self.calibrated_rates.get(p, ()) for p in range(len(self.runs))]
        filled = [row or (0.0,) * self.pack.shape.layers for row in rates]
        tensors["calibrated_rates"] = torch.tensor(filled, dtype=torch.float64)
        return tensors

    def _trained(self) -> dict[str, Tensor]:
        """Every tensor that updates change."""
        return {**self.pack.state(), **self._optimizer.state(), **self.measurements.state()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the `state` of a trainer with the same configuration and runs."""
        with torch.inference_mode():
            for name, tensor in self._trained().items():
                tensor.copy_(tensors[name])
        self.step = int(tensors["step"])
        self._standing.load_state(tensors)
        rates = tensors["calibrated_rates"].tolist()
        self.calibrated_rates = {p: tuple(rates[p]) for p in self.calibrated_rates}
        self._rates = Rates(self.config, self.runs, self.calibrated_rates, self.pack)

    def misfits(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of tensors that are missing, unknown, or of another shape or type than in `state`."""
        kinds = [{name: (t.shape, t.dtype) for name, t in d.items()} for d in (tensors, self.state())]
        return sorted({name for name, _ in kinds[0].items() ^ kinds[1].items()})

    def _measure_start(self, recorder: Recorder) -> None:
        self.measurements.held_out(recorder, self.step)
        self.measurements.probes(recorder, self.step)

    def _train(self, end: int, recorder: Recorder, deadline: float | None) -> None:
        """Train for a window, to `end` or to the deadline, then look at the losses of all updates done."""
        first, end = self.step + 1, min(end, self.step + LOSS_WINDOW)
        self._rates.mask(self._standing.masked)
        due: list[tuple[int, int, Tensor | None]] = []
        while self.step < end:
            step = self.step + 1
            self._batch.copy_(self._batches.at(step))
            rates = self._rates.at(step - 1)
            self._optimizer.begin(step - 1, rates)
            self._update()
            self._history[step - first].copy_(self.pack.losses)
            self.step = step
            self.measurements.updated(step - 1, self._batch, self._batches.slot)
            if step in self._reweightings:
                reweight(self.pack, self.config, self.runs, self._standing.live, step)
            if training_metrics_due(self.config, step):
                due.append((step, recorder.now_ms(), self._correct()))
            if step < self.config.steps and test_metrics_due(self.config, step):
                self.measurements.held_out(recorder, step)
            self.measurements.probes(recorder, step, Newest(step, rates))
            if deadline is not None and self._out_of_time(deadline):
                break
        losses = self._history[: self.step - first + 1].to("cpu", torch.float64).numpy()
        for step, time_ms, correct in due:
            recorder.add("train_loss", step, time_ms, losses[step - first].copy())
            if correct is not None:
                accuracy = correct.cpu().numpy() / self.config.batch_size
                recorder.add("train_accuracy", step, time_ms, accuracy)
        bad = ~np.isfinite(losses)
        for position in np.flatnonzero(bad.any(axis=0) & ~self._standing.masked).tolist():
            self._standing.diverge(position, first + int(bad[:, position].argmax()))
        if self.step == self.config.steps:
            live = self._standing.live
            for position in self.measurements.final(recorder, self.step, live, self.network):
                self._standing.diverge(position, self.step)

    def _operations(self) -> Callable[[], None]:
        """One update, as `ipcore.engine.replay` runs it.

        It does not refer to the trainer, which would then refer to itself: a trainer's memory on a GPU is
        freed with its last reference, not when Python next looks for cycles.
        """
        pack, optimizer = self.pack, self._optimizer
        inputs, labels, batch, slot = self._inputs, self._labels, self._batch, self._batches.slot

        def update() -> None:
            pack.gather(inputs, labels, batch, slot)
            pack.step(optimizer.update)

        return update

    def _out_of_time(self, deadline: float) -> bool:
        if self.device.type == "cuda":
            # Without waiting, kernels queue up far beyond the limit. Wait rarely, since it idles the device.
            if self.step % 16:
                return False
            torch.cuda.synchronize(self.device)
        return time.monotonic() >= deadline

    def _correct(self) -> Tensor | None:
        """Number of correctly classified examples of the batch, (K,); None if labels are not classes."""
        return None if self.dataset.target_dim else self.pack.correct()
