"""Training slice by slice: what the trainers of networks and of limits share.

Slice boundaries never influence numbers.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ipcore.catalogue.settings import plain
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.precision import matmul_precision
from ipcore.engine.threads import thread_count
from ipcore.training.recording import Points, Recorder, metric_names, next_weights_due
from ipcore.training.standing import Standing
from ipcore.training.validation import check_pack


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """Result of one call of `SlicedTrainer.advance`.

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


class SlicedTrainer(ABC):
    """K runs of one pack that are trained slice by slice.

    Attributes:
        config: Settings that the runs share.
        runs: The runs, by position.
        dataset: What they train on.
        device: Device that trains them.
        threads: Threads inside an operation; None: torch's own setting.
        dtype: Number format of weights: single or double precision.
        step: Updates done.
        calibrated_rates: First base rates of the layers 1..L+1, by position; of calibrated runs only.
    """

    calibrated_rates: dict[int, tuple[float, ...]]

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        dataset: Dataset,
        *,
        device: str | torch.device,
        threads: int | None,
        dtype: torch.dtype,
        clock: Callable[[], float],
    ) -> None:
        """Check the pack.

        Args:
            config: See the class.
            runs: See the class.
            dataset: See the class.
            device: See the class.
            threads: See the class.
            dtype: See the class.
            clock: Seconds since 1970, for the times of points.

        Raises:
            ConfigError: These runs cannot be trained as one pack on this dataset; names every reason.
        """
        check_pack(config, runs, dataset, dtype)
        self.config, self.runs, self.dataset = plain(config), tuple(plain(run) for run in runs), dataset
        self.device, self.threads, self.dtype = torch.device(device), threads, dtype
        self.step = 0
        self._clock = clock
        self._standing = Standing(len(self.runs))

    @property
    def finished(self) -> bool:
        """Whether training is over: the last step is done, or every run is masked."""
        return self.step >= self.config.steps or self._standing.all_masked

    @property
    def diverged(self) -> dict[int, int]:
        """Position -> update, of all runs that have diverged."""
        return dict(self._standing.diverged)

    def stop(self, positions: Iterable[int]) -> None:
        """Mask runs: they stay in the pack but learn and record nothing from now on.

        Raises:
            IndexError: No such position.
        """
        for position in self._standing.checked(positions):
            self._standing.mask(position, self.step)

    def advance(self, max_steps: int | None = None, max_seconds: float | None = None) -> Slice:
        """Train until a limit, the next step at which weights are due, or the end; at least one update.

        Args:
            max_steps: Most updates, >= 1.
            max_seconds: Ends after the first update beyond this time. The check waits for the device.

        Returns:
            The slice; empty if `finished`.

        Raises:
            ValueError: `max_steps` below 1.
        """
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {max_steps}")
        begun, first, known = time.monotonic(), self.step + 1, set(self._standing.diverged)
        deadline = None if max_seconds is None else begun + max_seconds
        end = next_weights_due(self.config, self.step)
        if max_steps is not None:
            end = min(end, self.step + max_steps)
        recorder = Recorder(metric_names(self.config), self._clock)
        with self._numerics():
            if self.step == 0 and not self.finished:
                self._measure_start(recorder)
            while self.step < end and not self.finished:
                self._train(end, recorder, deadline)
                if deadline is not None and time.monotonic() >= deadline:
                    break
        points = recorder.points(self._standing.last_step)
        diverged = {p: step for p, step in self._standing.diverged.items() if p not in known}
        return Slice(first, self.step, points, diverged, time.monotonic() - begun)

    @abstractmethod
    def _measure_start(self, recorder: Recorder) -> None:
        """Record the metrics of step 0."""

    @abstractmethod
    def _train(self, end: int, recorder: Recorder, deadline: float | None) -> None:
        """Do at least one update, none after `end`, and few after the deadline (of `time.monotonic`).

        Record their metrics, and note the runs that diverge in them.
        """

    @contextmanager
    def _numerics(self) -> Iterator[None]:
        with thread_count(self.threads), matmul_precision(self.config.precision), torch.inference_mode():
            yield
