"""The sweep of the published revision (2023): the best base rate of every method and activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ipcore.figures import RateCurve, RateCurves, RatePanel
from reproduction.examples import experiment, smaller
from reproduction.markdown import mean_sd, table
from reproduction.pictures import at_rate, svg
from reproduction.study import Measured, Result, Section, Study

_NAMES: Final = {"relu": "ReLU", "gelu": "GELU", "elu": "ELU", "tanh": "tanh"}
# IP-LLR with ReLU, L = 5, as their page gives it (2023): mean test accuracy and base rate.
AUTHORS: Final = {"mnist": (0.8658, 0.09), "cifar10-grey": (0.3990, 0.1)}


def best_checkpoint(values: Mapping[str, float]) -> dict[str, float]:
    """The evaluation with the best validation accuracy, the first of equals; nothing of a run that diverged.

    >>> best_checkpoint({"validation_accuracy@0": .1, "validation_accuracy@9": .3, "test_accuracy@9": .2})
    {'step': 9, 'validation_accuracy': 0.3, 'test_accuracy': 0.2}
    """
    validation = {
        int(name.partition("@")[2]): value
        for name, value in values.items()
        if name.startswith("validation_accuracy@")
    }
    if not validation:
        return {}
    step = max(validation, key=lambda step: (validation[step], -step))
    return {
        "step": step,
        "validation_accuracy": validation[step],
        "test_accuracy": values[f"test_accuracy@{step}"],
    }


def best_rate(runs: tuple[Measured, ...]) -> float | None:
    """The rate with the best mean validation accuracy, of those at which no seed diverged."""
    means: dict[float, float] = {}
    for rate in sorted({run.rate for run in runs}):
        found = [run.values.get("validation_accuracy", float("nan")) for run in runs if run.rate == rate]
        if np.isfinite(mean := float(np.mean(found))):
            means[rate] = mean
    return max(means, key=lambda rate: means[rate]) if means else None


def _section(result: Result) -> Section:
    spec = result.spec["spec"]
    grid, dataset, rates = spec["grid"], spec["dataset"], spec["grid"]["base_learning_rates"]
    methods = [entry["preset"] for entry in grid["parameterizations"]]
    rows = [[method, *(_cell(result, method, activation) for activation in _NAMES)] for method in methods]
    asked = np.prod([len(axis) for axis in grid.values()])
    seeds = sorted({run.seed for run in result.runs})
    diverged = sum(not run.values for run in result.runs)
    theirs, rate = AUTHORS[dataset]
    same = [
        run.values["test_accuracy"]
        for run in result.select(parameterization="ip-llr", activation="relu", rate=rate)
        if run.values
    ]
    text = [
        f"Five hidden layers of width {grid['widths'][0]}, batches of {spec['batch_size']}, "
        f"{spec['steps']:,} updates, {len(rates)} base rates from {min(rates)} to {max(rates)}; "
        f"{spec['validation_size']:,} training images validate, and the checkpoint that does best on them, "
        f"of one every {spec['evaluation_interval']} updates, is tested. First rates of IP-LLR are "
        "calibrated with readout target 1 and cap 1000; matmuls are computed in "
        f"{spec.get('precision', 'fp32')}. {len(result.runs):,} of {asked:,} runs (seeds "
        f"{', '.join(map(str, seeds))}), of which {diverged} diverged. Mean test accuracy ± standard "
        "deviation over the seeds, and in brackets the base rate: the one with the best mean validation "
        "accuracy of those at which no seed diverged. In the picture rates at which a seed diverged have a "
        "cross instead of a mean.",
        table(["", *_NAMES.values()], rows),
        f"Of their results, that of IP-LLR with ReLU at base rate {rate} is known here: a mean of "
        f"{theirs:.4f}. Ours is {mean_sd(same)}: it does not agree. Their later script asks for more updates "
        f'(5,000 on MNIST: see "trained longer" below, where it trains) than the {spec["steps"]:,} that '
        "are made here as in 2021.",
    ]
    return Section("\n\n".join(text), {f"{result.study}.svg": _picture(result, methods)})


def _cell(result: Result, method: str, activation: str) -> str:
    chosen = result.select(parameterization=method, activation=activation)
    rate = best_rate(chosen)
    if rate is None:
        return "diverged"
    return f"{mean_sd([run.values['test_accuracy'] for run in chosen if run.rate == rate])} ({rate:g})"


def _picture(result: Result, methods: list[str]) -> str:
    """Test accuracy against base rate, a panel for each activation."""
    panels = []
    for activation, shown in _NAMES.items():
        curves = []
        for method in methods:
            chosen = result.select(parameterization=method, activation=activation)
            rates = sorted({run.rate for run in chosen})
            points = tuple(
                at_rate(
                    rate,
                    [run.values.get("test_accuracy", np.nan) for run in chosen if run.rate == rate],
                    geometric=False,
                )
                for rate in rates
            )
            best = best_rate(chosen)
            curves.append(RateCurve(method, points, best, edge=best in (rates[0], rates[-1])))
        panels.append(RatePanel(shown, tuple(curves)))
    seeds = len({run.seed for run in result.runs})
    return svg(
        RateCurves(
            "test accuracy", tuple(panels), 4, "Test accuracy", seeds, ordered=False, logarithmic=False
        )
    )


def _study(name: str, title: str) -> Study:
    spec = experiment(name)
    quick = smaller(spec, steps=20, widths=[64], seeds=[0], base_learning_rates=[0.01, 0.1])
    quick["spec"] |= {"evaluation_interval": 10, "precision": "fp32", "resources": {"cpus": 2}}
    return Study(
        name=name,
        title=title,
        spec=spec,
        quick=quick,
        section=_section,
        metrics=("validation_accuracy", "test_accuracy"),
        file="sweep.jsonl",
        condense=best_checkpoint,
    )


MNIST: Final = _study("authors-sweep-mnist", "The authors' sweep of 2023: MNIST")
CIFAR: Final = _study("authors-sweep-cifar10", "The authors' sweep of 2023: CIFAR-10")
