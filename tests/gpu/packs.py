"""Trains packs one after another with `ipcore`, without the service, as many as time allows.

Each pack's result is a line of a JSON file, written when it is trained. Packs that are in the file are not
trained again. A pack is left out if, at the pace of the earlier ones, it would not end in time.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.errors import DataError
from ipcore.planning.machine import update_work
from ipcore.planning.memory import pack_memory_bytes
from ipcore.training.slices import Slice
from ipcore.training.trainer import Trainer

# A pack is not begun if it would take more than this fraction of the remaining time.
_SAFE: Final = 0.9
# Largest fraction of the device's memory that a pack may take by the memory model.
MEMORY: Final = 0.7
_METRICS: Final = ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True, slots=True)
class PackJob:
    """A pack to train.

    Attributes:
        name: Describes the pack completely, and identifies it in files.
        config: Configuration with the wanted number of updates. Networks are evaluated at multiples of
            `evaluation_interval`, which include the last update.
        runs: Runs of the pack.
        labels: Name of each run's method.
    """

    name: str
    config: PackConfig
    runs: tuple[RunConfig, ...]
    labels: tuple[str, ...]


def train_all(
    jobs: Iterable[PackJob],
    path: Path,
    device: str,
    limit: float,
    load: Callable[[str], Dataset],
    least: float = 2.0,
) -> dict[str, list[str]]:
    """Train the packs that are not in the file, as far as time allows.

    Args:
        jobs: Packs, the most important first.
        path: File with results.
        device: "cpu" or "cuda".
        limit: Time limit in seconds.
        load: Loads a dataset by its name.
        least: Seconds with which a pack is begun; with less time left none is.

    Returns:
        Names of the trained packs, and of the others by the reason why they were not trained.
    """
    deadline = time.monotonic() + limit
    done = {line["pack"] for line in read(path) if line["finished"]}
    told: dict[str, list[str]] = {"trained": []}
    data: dict[str, Dataset | str] = {}
    pace: float | None = None
    for job in jobs:
        if job.name in done:
            told.setdefault("trained before", []).append(job.name)
            continue
        name = job.config.dataset
        if name not in data:
            data[name] = _loaded(name, load)
        dataset = data[name]
        if isinstance(dataset, str):
            told.setdefault(dataset, []).append(job.name)
            continue
        left = deadline - time.monotonic()
        if left < least or (pace is not None and pace * _work(job, dataset) > _SAFE * left):
            told.setdefault("no time", []).append(job.name)
            continue
        line = train(job, dataset, device, deadline)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        told["trained" if line["finished"] else "cut off"] = [
            *told.get("trained" if line["finished"] else "cut off", []),
            job.name,
        ]
        print(json.dumps({key: value for key, value in line.items() if key != "runs"}), flush=True)
        if line["finished"]:
            pace = line["seconds"] / _work(job, dataset)
    return told


def train(job: PackJob, dataset: Dataset, device: str, deadline: float) -> dict[str, Any]:
    """Train a pack until its end or the deadline; return the line for the file."""
    begun = time.monotonic()
    # The configuration has one more update than is done. After the last update the engine tests networks one
    # by one on the CPU, so that saved weights give the same numbers everywhere. Here this would take longer
    # than the training on a GPU.
    trainer = Trainer(replace(job.config, steps=job.config.steps + 1), job.runs, dataset, device=device)
    ready = time.monotonic()
    slices: list[Slice] = []
    while trainer.step < job.config.steps and not trainer.finished:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        slices.append(trainer.advance(max_steps=job.config.steps - trainer.step, max_seconds=left))
    trained = time.monotonic()
    updates = trainer.step * len(job.runs)
    line: dict[str, Any] = {
        "pack": job.name,
        "finished": trainer.step == job.config.steps or trainer.finished,
        "K": len(job.runs),
        "updates": trainer.step,
        "seconds": round(trained - begun, 2),
        "set_up_seconds": round(ready - begun, 2),
        "us_per_network_update": round(1e6 * (trained - ready) / max(1, updates), 2),
    }
    if device == "cuda":
        line["memory_MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
        torch.cuda.reset_peak_memory_stats()
    line["runs"] = _runs(job, slices, trainer.diverged)
    del trainer
    gc.collect()
    return line


def _runs(job: PackJob, slices: Sequence[Slice], diverged: dict[int, int]) -> list[dict[str, Any]]:
    """The record of each run: its description, and its metrics by name as (step, value) pairs."""
    config = job.config
    found: list[dict[str, list[list[float]]]] = [{} for _ in job.runs]
    for part in slices:
        for position, name, step, value in part.points.rows():
            if name in _METRICS:
                found[position].setdefault(name, []).append([step, float(f"{value:.6g}")])
    return [
        {
            "dataset": config.dataset,
            "parameterization": label,
            "hidden_layers": config.hidden_layers,
            "width": config.width,
            "activation": config.activation,
            "rate": run.base_learning_rate,
            "seed": run.seed,
            "precision": config.precision,
            "diverged": diverged.get(position),
            **found[position],
        }
        for position, (run, label) in enumerate(zip(job.runs, job.labels, strict=True))
    ]


def read(path: Path) -> list[dict[str, Any]]:
    """Lines of a file with results; empty if there is no file. A truncated last line is removed."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def fitting(job: PackJob, info: Any, memory: int) -> list[PackJob]:
    """The pack, divided into parts that fit into the device's memory."""
    if len(job.runs) == 1 or pack_memory_bytes(job.config, info, len(job.runs)) <= MEMORY * memory:
        return [job]
    half = len(job.runs) // 2
    parts = [
        replace(job, name=f"{job.name}/{side}", runs=job.runs[part], labels=job.labels[part])
        for side, part in (("a", slice(None, half)), ("b", slice(half, None)))
    ]
    return [piece for part in parts for piece in fitting(part, info, memory)]


def _loaded(name: str, load: Callable[[str], Dataset]) -> Dataset | str:
    try:
        return load(name)
    except DataError as error:
        return str(error)


def _work(job: PackJob, dataset: Dataset) -> float:
    return len(job.runs) * job.config.steps * update_work(job.config, dataset.info)
