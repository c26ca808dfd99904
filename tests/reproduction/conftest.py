"""Trains the grid of an experiment spec in this process, and returns what a service would record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import ipcore
from ipcore.config import Probes
from ipcore.theory import Parameterization, preset
from reproduction.results import measured_now
from reproduction.study import Measured, Result

Train = Callable[..., Result]


@pytest.fixture(scope="session")
def train() -> Train:
    """(spec document, parameterizations that replace presets) -> the results of all runs."""

    def result(document: Mapping[str, Any], instead: Mapping[str, Parameterization] | None = None) -> Result:
        return measured_now("test", document, 0.0, _train(document["spec"], instead or {}))

    return result


def _train(spec: Mapping[str, Any], instead: Mapping[str, Parameterization]) -> Iterator[Measured]:
    dataset, grid = ipcore.load_dataset(spec["dataset"]), spec["grid"]
    probes = spec.get("record", {}).get("probes")
    for depth, width, activation in itertools.product(
        grid["hidden_layers"], grid["widths"], grid["activations"]
    ):
        config = ipcore.PackConfig(
            spec["dataset"],
            depth,
            width,
            activation,
            spec["batch_size"],
            spec["steps"],
            loss=spec.get("loss", "cross_entropy"),
            probes=probes
            and Probes(
                tuple(probes["quantities"]), steps=tuple(probes["steps"]), interval=probes.get("interval", 0)
            ),
        )
        runs, labels = [], []
        for entry in grid["parameterizations"]:
            label = entry["preset"]
            p = instead.get(label) or preset(label, depth)
            rates = entry.get("base_learning_rates") or grid["base_learning_rates"]
            for rate, seed in itertools.product(rates, grid["seeds"]):
                runs.append(ipcore.RunConfig(p, rate, seed))
                labels.append(label)
        values: list[dict[str, float]] = [{} for _ in runs]
        for position, name, step, value in ipcore.Trainer(config, runs, dataset).advance().points.rows():
            values[position][f"{name}@{step}"] = value
            if step == spec["steps"]:
                values[position][name] = value
        for label, run, own in zip(labels, runs, values, strict=True):
            yield Measured(label, depth, width, activation, run.base_learning_rate, run.seed, own)
