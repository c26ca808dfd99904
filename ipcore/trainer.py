"""Trains a pack slice by slice. Where a slice begins and ends never influences a number."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ipcore.batches import Batches
from ipcore.calibration import calibrate
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.evaluation import evaluate
from ipcore.initialization import initialize
from ipcore.losses import LOSSES
from ipcore.memory import EVALUATION_ROWS, LOSS_WINDOW
from ipcore.network import Network
from ipcore.pack import Pack, PackShape
from ipcore.probes.prober import Prober
from ipcore.randomness import calibration_batches
from ipcore.rates import Rates
from ipcore.recording import (
    Points,
    Recorder,
    metric_names,
    next_weights_due,
    probes_due,
    test_metrics_due,
    training_metrics_due,
)
from ipcore.scales import power, rate_factors
from ipcore.threads import thread_count
from ipcore.validation import check_pack

_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """What one call of `Trainer.advance` did.

    Attributes:
        first_step: First update of the slice.
        last_step: Last update; first_step - 1 if there was nothing to train.
        points: Metrics recorded in it.
        diverged: Position -> update, of runs found to have diverged in it.
        seconds: Wall-clock time it took.
    """

    first_step: int
    last_step: int
    points: Points
    diverged: Mapping[int, int]
    seconds: float


class Trainer:
    """K runs trained together.

    Training metrics of step s are those of the batch of update s, before it; test metrics are those of the
    state after s updates, and at the last step come from `ipcore.evaluate`. A run has diverged at the first
    update whose training loss is not finite, or at the last step if its test loss is not: from there on it
    stays in the batch but nothing of it is recorded.

    Attributes:
        config: What the runs share.
        runs: The runs, by position.
        dataset: What they train on.
        device: Where.
        threads: Threads inside an operation; None: torch's own setting.
        step: Updates done.
        pack: Weights and buffers.

    Raises:
        ConfigError: These runs cannot be trained as one pack on this dataset; names every reason.
    """

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
    ) -> None:
        check_pack(config, runs, dataset)
        self.config, self.runs, self.dataset = config, tuple(runs), dataset
        self.device, self.threads = torch.device(device), threads
        self.step = 0
        self._clock = clock
        dims = (dataset.input_dim, *[config.width] * config.hidden_layers, dataset.classes)
        shape = PackShape(len(self.runs), dims, config.batch_size, config.bias == "first")
        self._inputs = torch.from_numpy(dataset.train.inputs).to(self.device, dtype)
        self._labels = torch.from_numpy(dataset.train.labels).to(self.device)
        self._batches = Batches([r.seed for r in runs], len(dataset.train), config.batch_size, self.device)
        self.pack = Pack(shape, config.activation, config.loss, dtype, self.device)
        self._history = torch.zeros((LOSS_WINDOW, shape.runs), dtype=dtype, device=self.device)
        # Last step of each run at which points count: lowered when it is stopped or diverges.
        self._last_step = np.full(shape.runs, _NEVER, dtype=np.int64)
        self._masked = np.zeros(shape.runs, dtype=bool)
        self._diverged: dict[int, int] = {}
        self.calibrated_rates: dict[int, tuple[float, ...]] = {}
        with thread_count(threads), torch.inference_mode():
            initialize(self.pack, config, self.runs)
            self._prober = None
            if config.probes is not None:
                self._prober = Prober(config.probes, self.pack, self.runs, self._inputs, self._labels)
            self._calibrate()
        self._rates = Rates(config, self.runs, self.calibrated_rates, self.pack)

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to train: the last step is done, or every run is masked."""
        return self.step >= self.config.steps or bool(self._masked.all())

    @property
    def diverged(self) -> dict[int, int]:
        """Position -> update, of all runs that have diverged."""
        return dict(self._diverged)

    def stop(self, positions: Iterable[int]) -> None:
        """Mask runs: they stay in the batch but learn and record nothing from now on.

        Raises:
            IndexError: No such position.
        """
        for position in positions:
            if not 0 <= position < len(self.runs):
                raise IndexError(f"the pack has positions 0..{len(self.runs) - 1}, not {position}")
            self._mask(position, self.step)

    def network(self, position: int) -> Network:
        """The network of a run as it is now, on the CPU; holds w^l = m^{a_l} W^l."""
        run = self.runs[position]
        scales = [power(self.config.width, a) for a in run.parameterization.a]

        def plain(effective: Tensor, scale: float) -> Tensor:
            return (effective.to("cpu", torch.float64) * scale).to(self.pack.dtype)

        bias = self.pack.bias
        return Network(
            weights=tuple(
                plain(weight[position], scale)
                for weight, scale in zip(self.pack.weights, scales, strict=True)
            ),
            bias=None if bias is None else plain(bias[position, 0], scales[0]),
            parameterization=run.parameterization,
            activation=self.config.activation,
            loss=self.config.loss,
            dataset=self.config.dataset,
            base_learning_rate=run.base_learning_rate,
            seed=run.seed,
            step=self.step,
        )

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold, by name: views, valid until the next update."""
        tensors = {f"W{layer}": weight for layer, weight in enumerate(self.pack.weights, start=1)}
        if self.pack.bias is not None:
            tensors["B1"] = self.pack.bias
        diverged = np.full(len(self.runs), -1, dtype=np.int64)
        diverged[list(self._diverged)] = list(self._diverged.values())
        tensors["step"] = torch.tensor(self.step)
        tensors["last_step"] = torch.from_numpy(self._last_step)
        tensors["diverged"] = torch.from_numpy(diverged)
        rates = [self.calibrated_rates.get(p, ()) for p in range(len(self.runs))]
        filled = [row or (0.0,) * self.pack.shape.layers for row in rates]
        tensors["calibrated_rates"] = torch.tensor(filled, dtype=torch.float64)
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the `state` of a trainer with the same configuration and runs."""
        with torch.inference_mode():
            for layer, weight in enumerate(self.pack.weights, start=1):
                weight.copy_(tensors[f"W{layer}"])
            if self.pack.bias is not None:
                self.pack.bias.copy_(tensors["B1"])
        self.step = int(tensors["step"])
        self._last_step = tensors["last_step"].numpy().copy()
        self._masked = self._last_step != _NEVER
        self._diverged = {p: step for p, step in enumerate(tensors["diverged"].tolist()) if step >= 0}
        rates = tensors["calibrated_rates"].tolist()
        self.calibrated_rates = {p: tuple(rates[p]) for p in self.calibrated_rates}
        self._rates = Rates(self.config, self.runs, self.calibrated_rates, self.pack)
        for position in np.flatnonzero(self._masked):
            self._rates.mask(int(position))

    def advance(self, max_steps: int | None = None, max_seconds: float | None = None) -> Slice:
        """Train until a limit, the next step at which weights are due, or the end; at least one update.

        Args:
            max_steps: Most updates, >= 1.
            max_seconds: Ends after the first update beyond this time. The check waits for the device.

        Returns:
            The slice; empty if `finished`.
        """
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {max_steps}")
        begun, first, known = time.monotonic(), self.step + 1, set(self._diverged)
        end = next_weights_due(self.config, self.step)
        if max_steps is not None:
            end = min(end, self.step + max_steps)
        recorder = Recorder(metric_names(self.config))
        with thread_count(self.threads), torch.inference_mode():
            if self.step == 0 and not self.finished:
                self._record_test(recorder)
                self._record_probes(recorder)
            while self.step < end and not self.finished:
                self._train_window(min(end, self.step + LOSS_WINDOW), recorder, begun, max_seconds)
                if max_seconds is not None and time.monotonic() - begun >= max_seconds:
                    break
        points = recorder.points(self._last_step)
        diverged = {p: step for p, step in self._diverged.items() if p not in known}
        return Slice(first, self.step, points, diverged, time.monotonic() - begun)

    def _train_window(self, end: int, recorder: Recorder, begun: float, max_seconds: float | None) -> None:
        """Train to `end` or the time limit, then look at the losses of all updates done."""
        first = self.step + 1
        due: list[tuple[int, int, Tensor]] = []
        while self.step < end:
            step = self.step + 1
            self.pack.gather(self._inputs, self._labels, self._batches.at(step), self._batches.slot)
            self.pack.train_step(self._rates.at(step - 1))
            self._history[step - first].copy_(self.pack.losses)
            self.step = step
            if training_metrics_due(self.config, step):
                due.append((step, self._now_ms(), self.pack.correct()))
            if step < self.config.steps and test_metrics_due(self.config, step):
                self._record_test(recorder)
            self._record_probes(recorder)
            if max_seconds is not None and self._out_of_time(begun + max_seconds):
                break
        losses = self._history[: self.step - first + 1].to("cpu", torch.float64).numpy()
        for step, time_ms, correct in due:
            recorder.add("train_loss", step, time_ms, losses[step - first].copy())
            accuracy = correct.cpu().numpy() / self.config.batch_size
            recorder.add("train_accuracy", step, time_ms, accuracy)
        bad = ~np.isfinite(losses)
        for position in np.flatnonzero(bad.any(axis=0) & ~self._masked):
            self._diverge(int(position), first + int(bad[:, position].argmax()))
        if self.step == self.config.steps:
            self._record_final(recorder)

    def _out_of_time(self, deadline: float) -> bool:
        if self.device.type == "cuda":
            # Without waiting, kernels queue up far beyond the limit; rarely, as it idles the device.
            if self.step % 16:
                return False
            torch.cuda.synchronize(self.device)
        return time.monotonic() >= deadline

    def _record_test(self, recorder: Recorder) -> None:
        """Evaluate all runs at once on the test set."""
        test, values = self.dataset.test, LOSSES[self.config.loss].values
        loss = torch.zeros(len(self.runs), dtype=torch.float64, device=self.device)
        correct = torch.zeros(len(self.runs), dtype=torch.int64, device=self.device)
        for inputs, labels in self._chunks(test):
            logits = self.pack.infer(inputs)
            loss += values(logits, labels.expand(len(self.runs), -1)).sum(dim=1, dtype=torch.float64)
            correct += (logits.argmax(dim=-1) == labels).sum(dim=1)
        now = self._now_ms()
        recorder.add("test_loss", self.step, now, loss.cpu().numpy() / len(test))
        recorder.add("test_accuracy", self.step, now, correct.cpu().numpy() / len(test))

    def _record_probes(self, recorder: Recorder) -> None:
        """Measure what is asked for inside the networks, if it is due."""
        if self._prober is None or not probes_due(self.config, self.step):
            return
        now = self._now_ms()
        for metric, values in self._prober.measure().items():
            recorder.add(metric, self.step, now, values)

    def _chunks(self, split: Split) -> Iterable[tuple[Tensor, Tensor]]:
        size = max(self.config.batch_size, EVALUATION_ROWS)
        for start in range(0, len(split), size):
            inputs = torch.from_numpy(split.inputs[start : start + size])
            labels = torch.from_numpy(split.labels[start : start + size])
            yield inputs.to(self.device, self.pack.dtype), labels.to(self.device)

    def _record_final(self, recorder: Recorder) -> None:
        """Evaluate every live run by the public function, so that its saved weights give the same numbers."""
        loss = np.full(len(self.runs), np.nan)
        accuracy = np.full(len(self.runs), np.nan)
        with thread_count(1):  # Once, not around each evaluation: it wakes and stops threads.
            for position in map(int, np.flatnonzero(~self._masked)):
                result = evaluate(self.network(position), self.dataset.test)
                loss[position], accuracy[position] = result.loss, result.accuracy
                if not np.isfinite(result.loss):
                    self._diverge(position, self.step)
        now = self._now_ms()
        recorder.add("test_loss", self.step, now, loss)
        recorder.add("test_accuracy", self.step, now, accuracy)

    def _diverge(self, position: int, step: int) -> None:
        self._diverged[position] = step
        self._mask(position, step - 1)

    def _mask(self, position: int, last_step: int) -> None:
        self._last_step[position] = min(self._last_step[position], last_step)
        self._masked[position] = True
        self._rates.mask(position)

    def _calibrate(self) -> None:
        if all(run.calibration is None for run in self.runs):
            return
        one, two = (
            torch.from_numpy(indices).to(self.device)
            for indices in calibration_batches(len(self.dataset.train), self.config.batch_size)
        )
        # The whole pack takes part, which costs no memory; the others' rates are not used.
        rates = calibrate(
            self.pack,
            first=(self._inputs[one], self._labels[one]),
            second=self._inputs[two],
            base_rates=[run.base_learning_rate for run in self.runs],
            factors=[rate_factors(run.parameterization, self.config.width, 0) for run in self.runs],
            settings=[run.calibration or Calibration() for run in self.runs],
        )
        self.calibrated_rates = {
            position: rates[position] for position, run in enumerate(self.runs) if run.calibration is not None
        }

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
