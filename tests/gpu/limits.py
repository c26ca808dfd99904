"""Limits at m = infinity and deferred weights on the device: `python -m tests.gpu.limits --json FILE`.

    times       digits, batches of 32: seconds of a replica of IP-LLR's limit (32,768 particles), of dense
                networks, and of muP with deferred weights, for the same updates
    distances   MNIST, batches of 64, 100 updates, ReLU: squared distances of the outputs on the test set, of
                every seed at every width, to the limit (IP-LLR) or to networks at least 16 times as wide as
                those compared (muP). `ipcore.analysis.fit_distances` makes m* of them

Each measurement is a line of the JSON file, written at once. Lines that are there are not measured again.
Without a GPU, digits and a few neurons take the place of all that.
"""

from __future__ import annotations

import functools
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from ipcore.analysis import fit_distances
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.errors import AnalysisError, DataError
from ipcore.limits.cost import cost
from ipcore.limits.trainer import LimitTrainer, trainer_of
from ipcore.planning.memory import pack_memory_bytes
from ipcore.theory import preset
from ipcore.training.trainer import Trainer
from tests.benchmarks import output
from tests.gpu.data import load
from tests.gpu.packs import MEMORY, read

Outputs = npt.NDArray[np.float64]  # (seeds or replicas, n C)
_CALIBRATION: Final = Calibration(readout_target=0.1, cap=1e20)
# A measurement is not begun with less time than this; the longest ones take about as long on an H100.
_LEAST: Final = {"cpu": 0.5, "cuda": 20.0}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured.

    Attributes:
        depths: Hidden layers whose limits are timed.
        updates: Numbers of updates that are timed.
        particles: N of the timed limits.
        dense: Widths of the timed dense networks.
        deferred: Widths of the timed deferred ones.
        dataset: Dataset on which distances are measured.
        batch: Its batch size.
        steps: Updates before distances are measured.
        most: Most particles of its limits; as many are taken as fit.
        replicas: Number of replicas of each limit, and of each reference.
        seeds: Number of seeds at each width.
        widths: Compared with IP-LLR's limit.
        narrow: Compared with muP's reference.
        reference: Width of muP's reference.
        layers: Hidden layers, in the order of measurement.
    """

    depths: tuple[int, ...] = (2, 3, 4)
    updates: tuple[int, ...] = (10, 50)
    particles: int = 32768
    dense: tuple[int, ...] = (2048, 8192)
    deferred: tuple[int, ...] = (8192, 32768, 131072)
    dataset: str = "mnist"
    batch: int = 64
    steps: int = 100
    most: int = 131072
    replicas: int = 4
    seeds: int = 8
    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    narrow: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    reference: int = 32768
    layers: tuple[int, ...] = (2, 3)


ON_GPU: Final = Sizes()
SMALL: Final = Sizes(
    (2,), (3,), 64, (16,), (256,), "digits", 16, 4, 512, 3, 3, (8, 16, 32), (8, 16, 32), 512, (2,)
)


class Bench:
    """Measures on a device until the time is over.

    Args:
        path: File with the results.
        device: "cpu" or "cuda".
        limit: Seconds.
        sizes: What is measured.
    """

    def __init__(self, path: Path, device: str, limit: float, sizes: Sizes) -> None:
        self._path, self._device, self._sizes = path, device, sizes
        self._deadline = time.monotonic() + limit - _LEAST[device]
        self._lines = {line["piece"]: line for line in read(path)}
        self.cut = False

    def run(self) -> None:
        """Measure all that is not in the file."""
        self._times()
        try:
            dataset = load(self._sizes.dataset)
        except DataError as error:
            self._write(f"distances {self._sizes.dataset}", {"left_out": str(error)})
            return
        for layers in self._sizes.layers:
            self._distances(dataset, "ip-llr", layers)
            self._distances(dataset, "mup", layers)

    def _times(self) -> None:
        digits = load("digits")
        # Evaluations are no part of what is timed.
        digits = replace(digits, test=Split(digits.test.inputs[:32], digits.test.labels[:32]))
        s, few = self._sizes, 5
        for kind, layers, width in (("limit", 2, 64), ("deferred", 2, 256), ("dense", 2, 16)):
            self._seconds(digits, kind, layers, width, few)  # what is loaded once
        for layers in s.depths:
            for updates in s.updates:
                for kind, widths in (("limit", (s.particles,)), ("dense", s.dense)):
                    for width in widths:
                        self._timed(digits, kind, layers, width, updates)
        for kind, widths in (("deferred", s.deferred), ("dense", s.dense)):
            for width in widths:
                self._timed(digits, kind, min(3, max(s.depths)), width, few)

    def _timed(self, dataset: Dataset, kind: str, layers: int, width: int, updates: int) -> None:
        def measure() -> dict[str, Any]:
            tried = [self._seconds(dataset, kind, layers, width, updates) for _ in range(2)]
            prepare, train = (min(part) for part in zip(*tried, strict=True))
            return {"prepare_seconds": round(prepare, 4), "train_seconds": round(train, 4)}

        self._piece(f"time {kind} L={layers} m={width} updates={updates}", measure)

    def _seconds(
        self, dataset: Dataset, kind: str, layers: int, width: int, updates: int
    ) -> tuple[float, float]:
        """Of drawing and calibrating one network or replica, and of its updates."""
        name = "mup" if kind == "deferred" else "ip-llr"
        config = self._config(dataset, layers, width, 32, updates)
        config = replace(config, infinite_width=kind == "limit", deferred=kind == "deferred")
        begun = time.perf_counter()
        trainer = trainer_of(config, [self._run(name, layers, 0)], dataset, device=self._device)
        self._wait()
        ready = time.perf_counter()
        trainer.advance(max_steps=updates)
        self._wait()
        ended = time.perf_counter()
        del trainer
        gc.collect()
        return ready - begun, ended - ready

    def _distances(self, dataset: Dataset, name: str, layers: int) -> None:
        s = self._sizes
        widths = s.widths if name == "ip-llr" else s.narrow
        stem = f"distance {s.dataset} {name} L={layers}"
        limit: Outputs | None = None
        for width in widths:
            piece = f"{stem} m={width}"
            if piece in self._lines or self._over():
                continue
            if limit is None:
                limit = self._reference(dataset, name, layers, stem)
            self._piece(piece, functools.partial(self._squares, dataset, name, layers, width, limit))
        self._needed(stem, widths)

    def _reference(self, dataset: Dataset, name: str, layers: int, stem: str) -> Outputs:
        """Outputs of all replicas of what widths are compared with."""
        s, begun = self._sizes, time.perf_counter()
        seeds = range(1000, 1000 + s.replicas)
        if name == "mup":
            width, found = s.reference, self._networks(dataset, name, layers, s.reference, seeds)
        else:
            config = self._config(dataset, layers, s.most, s.batch, s.steps)
            config = replace(config, infinite_width=True, replicas=1)
            runs = [self._run(name, layers, seed) for seed in seeds]
            while (
                self._device == "cuda" and cost(config, runs[0], dataset.info).memory_bytes > self._memory()
            ):
                config = replace(config, width=config.width // 2)
            width, parts = config.width, []
            # One at a time needs the memory of one.
            for run in runs:
                trainer = LimitTrainer(config, [run], dataset, device=self._device, data_seed=0)
                trainer.advance(max_steps=s.steps)
                parts.append(trainer.outputs(0)[0].double().flatten().cpu().numpy())
                del trainer
                gc.collect()
            found = np.stack(parts)
        told = {"m": width, "replicas": len(found)}
        self._write(f"{stem} reference", told | {"seconds": round(time.perf_counter() - begun, 2)})
        return found

    def _squares(
        self, dataset: Dataset, name: str, layers: int, width: int, limit: Outputs
    ) -> dict[str, Any]:
        """D^2 of every seed, variance and bias, relative to |f|^2 (`ipcore.analysis.limit_distance`)."""
        values = self._networks(dataset, name, layers, width, range(self._sizes.seeds))
        f = limit.mean(axis=0)
        own = limit.var(axis=0, ddof=1).sum() / len(limit)
        unit, variance, off = f @ f, values.var(axis=0, ddof=1).sum(), values.mean(axis=0) - f
        return {
            "squares": [float(x) for x in ((values - f) ** 2).sum(axis=1) / unit],
            "variance": float(variance / unit),
            "bias": float((off @ off - variance / len(values) - own) / unit),
            "own": float(own / unit),
        }

    def _networks(
        self, dataset: Dataset, name: str, layers: int, width: int, seeds: Sequence[int]
    ) -> Outputs:
        """Outputs of dense networks on the test set."""
        config = self._config(dataset, layers, width, self._sizes.batch, self._sizes.steps)
        inputs, found = torch.from_numpy(dataset.test.inputs).to(self._device), []
        together = len(seeds)
        while (
            self._device == "cuda"
            and together > 1
            and together * pack_memory_bytes(config, dataset.info, 1) > self._memory()
        ):
            together //= 2

        def made(seed: int) -> Trainer:
            run = self._run(name, layers, seed)
            return Trainer(config, [run], dataset, device=self._device, data_seed=0)

        # Drawing initial weights on the CPU takes longer than training them: on one core for each network.
        for start in range(0, len(seeds), together):
            with ThreadPoolExecutor(together if self._device == "cuda" else 1) as pool:
                trainers = list(pool.map(made, seeds[start : start + together]))
            while trainers:
                trainer = trainers.pop(0)
                trainer.advance(max_steps=self._sizes.steps)
                with torch.inference_mode():
                    parts = [trainer.pack.infer(part)[0] for part in inputs.split(2000)]
                    found.append(torch.cat(parts).double().flatten().cpu().numpy())
                del trainer
                gc.collect()
        return np.stack(found)

    def _needed(self, stem: str, widths: Sequence[int]) -> None:
        """The width at which the distance is 5 %, of what is in the file."""
        lines = [line for width in widths if (line := self._lines.get(f"{stem} m={width}"))]
        if not lines:
            return
        squares = {line["m"]: line["squares"] for line in lines}
        parts = {line["m"]: (line["variance"], line["bias"]) for line in lines}
        try:
            found = fit_distances(squares, parts, own=lines[0]["own"], needed=(0.1, 0.05))
        except AnalysisError as error:
            self._write(f"{stem} needed", {"widths": len(lines), "left_out": str(error)})
        else:
            self._write(f"{stem} needed", {"widths": len(lines), "says": found.sentence})

    def _config(self, dataset: Dataset, layers: int, width: int, batch: int, updates: int) -> PackConfig:
        # One update more than is done: after the last one the trainer evaluates, on the CPU or once more.
        return PackConfig(dataset.name, layers, width, "relu", batch, updates + 1, weights="none", replicas=1)

    def _run(self, name: str, layers: int, seed: int) -> RunConfig:
        if name == "mup":
            return RunConfig(preset(name, layers), 0.1, seed)
        return RunConfig(preset(name, layers), 0.03, seed, _CALIBRATION)

    def _piece(self, piece: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure, unless it is in the file or time is over."""
        if piece in self._lines or self._over():
            return
        begun = time.perf_counter()
        found = measure()
        self._write(piece, found | {"seconds": round(time.perf_counter() - begun, 2)})

    def _write(self, piece: str, found: dict[str, Any]) -> None:
        named = dict(_named(piece))
        line = {"piece": piece, **named, **found, "device": self._device}
        if self._device == "cuda":
            line["memory_MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
            torch.cuda.reset_peak_memory_stats()
        self._lines[piece] = line
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _over(self) -> bool:
        self.cut = self.cut or time.monotonic() > self._deadline
        return self.cut

    def _memory(self) -> float:
        return MEMORY * torch.cuda.get_device_properties(0).total_memory

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def _named(piece: str) -> Iterator[tuple[str, int]]:
    """L, m and updates of a piece, by name."""
    for word in piece.split():
        name, equals, value = word.partition("=")
        if equals:
            yield name, int(value)


def main() -> None:
    """Measure as much as time allows."""
    options = output.device_parser(__doc__).parse_args()
    bench = Bench(options.json, options.device, options.limit, ON_GPU if options.device == "cuda" else SMALL)
    bench.run()
    if bench.cut:
        print("cut: time was over")


if __name__ == "__main__":
    main()
