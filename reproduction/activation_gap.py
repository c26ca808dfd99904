"""The activation gap in the limit: whose first step reaches every layer at m = infinity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import torch

import ipcore
from ipcore.analysis import fit_slope
from ipcore.data import Dataset
from ipcore.limits.learners import DeferredLearner, ParticleLearner
from ipcore.limits.trainer import LimitTrainer
from ipcore.theory import preset
from reproduction.data import load
from reproduction.kept import kept
from reproduction.markdown import slope, table
from reproduction.study import Measured, Result, Section, Spec, Study

_NAME: Final = "activation-gap"
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 32,
    "hidden_layers": 4,
    "activations": ["relu", "gelu", "elu", "tanh"],
    "rate": 0.03,
    "step_rate": 10.0,  # of the first step of HPZ, so that it has a size of order 1
    "widths": [256, 1024, 4096],
    "seeds": 4,
    "particles": 8192,
    "replicas": 2,
    "examples": 64,
}
_LIMIT: Final = 0  # the width of the limit's rows


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    shared = {name: value for name, value in spec.items() if name not in {"activations", "widths"}}
    for i, phi in enumerate(spec["activations"]):
        for width in [*spec["widths"], _LIMIT]:
            part = shared | {"activation": phi, "width": width}
            measure = _limit if width == _LIMIT else _networks
            yield from kept(
                _NAME, part, lambda measure=measure, phi=phi, width=width: measure(spec, phi, width, dataset)
            )
        progress((i + 1) / len(spec["activations"]))


def _config(spec: Spec, phi: str, width: int, **more: Any) -> ipcore.PackConfig:
    layers, batch = spec["hidden_layers"], spec["batch_size"]
    config = ipcore.PackConfig(spec["dataset"], layers, width, phi, batch, 2, weights="none")
    return replace(config, **more)


def _run(spec: Spec, name: str, seed: int, *, calibrated: bool) -> ipcore.RunConfig:
    calibration = ipcore.Calibration(1.0, cap=1e30) if calibrated else None
    rate = spec["rate"] if calibrated else spec["step_rate"]
    return ipcore.RunConfig(preset(name, spec["hidden_layers"]), rate, seed, calibration)


def _networks(spec: Spec, phi: str, width: int, dataset: Dataset) -> Iterator[Measured]:
    """Calibrated first rates of IP-LLR and HP, and HPZ's first step."""
    inputs = torch.from_numpy(dataset.test.inputs[: spec["examples"]])
    for seed in range(spec["seeds"]):
        for name in ("ip-llr", "hp", "hpz"):
            config = _config(spec, phi, width, deferred=True)
            run = _run(spec, name, seed, calibrated=name != "hpz")
            trainer = LimitTrainer(config, [run], dataset, threads=1, data_seed=0)
            values = {}
            if name == "hpz":
                learner = trainer.learners[0]
                if not isinstance(learner, DeferredLearner):
                    raise TypeError("deferred weights were asked for")
                trainer.advance(max_steps=1)
                values = _sizes(learner.network.hidden(inputs))
            else:
                rates = trainer.calibrated_rates[0]
                values = {f"rate/{layer}": rate for layer, rate in enumerate(rates, start=1)}
            yield Measured(name, spec["hidden_layers"], width, phi, spec["rate"], seed, values)


def _limit(spec: Spec, phi: str, width: int, dataset: Dataset) -> Iterator[Measured]:
    inputs = torch.from_numpy(dataset.test.inputs[: spec["examples"]])
    more = {"infinite_width": True, "replicas": 1}
    config = _config(spec, phi, spec["particles"], **more)
    names = ["hp", "hpz", *(["ip-llr"] if phi == "relu" else [])]
    for replica in range(spec["replicas"]):
        for name in names:
            run = _run(spec, name, replica, calibrated=name != "hpz")
            trainer = LimitTrainer(config, [run], dataset, threads=1, data_seed=0)
            learner = trainer.learners[0]
            if not isinstance(learner, ParticleLearner):
                raise TypeError("particles were asked for")
            if name == "hpz":
                trainer.advance(max_steps=1)
                values = _sizes(learner.replicas[0].hidden(inputs))
            else:
                rates = trainer.calibrated_rates[0]
                values = {f"rate/{layer}": rate for layer, rate in enumerate(rates, start=1)}
            yield Measured(name, spec["hidden_layers"], width, phi, spec["rate"], replica, values)


def _sizes(h: list[torch.Tensor]) -> dict[str, float]:
    return {f"h/{layer}": float(values.abs().mean()) for layer, values in enumerate(h, start=1)}


def _mean(result: Result, name: str, **fields: object) -> float | None:
    values = [run.values[name] for run in result.select(**fields) if name in run.values]
    return sum(values) / len(values) if values else None


def _section(result: Result) -> Section:
    spec, layers = result.spec, result.spec["hidden_layers"]
    rates, steps = [], []
    for phi in spec["activations"]:
        for name in ("ip-llr", "hp"):
            cells = []
            for layer in range(2, layers + 2):
                chosen = {"parameterization": name, "activation": phi}
                runs = [run for run in result.select(**chosen) if run.width != _LIMIT]
                samples = replace(result, runs=tuple(runs)).samples(f"rate/{layer}")
                limit = _mean(result, f"rate/{layer}", width=_LIMIT, **chosen)
                shown = "-" if limit is None else f"{limit:.3g}"
                cells.append(f"{slope(fit_slope(samples.paired()).slope)}, {shown}")
            rates.append([f"{name}, {phi}", *cells])
        for width in [*spec["widths"], _LIMIT]:
            chosen = {"parameterization": "hpz", "activation": phi, "width": width}
            cells = [f"{_mean(result, f'h/{layer}', **chosen) or 0:.2g}" for layer in range(1, layers + 1)]
            steps.append([f"{phi}, {f'm = {width:,}' if width else 'm = infinity'}", *cells])
    head = ["slope, limit of rate", *(f"layer {layer}" for layer in range(2, layers + 1)), "readout"]
    text = [
        "Whose first step survives at m = infinity? Slopes of calibrated first rates against the width "
        f"({spec['widths'][0]:,} to {spec['widths'][-1]:,}, deferred weights, {spec['seeds']} seeds) and "
        "their limits (particles). Under IP-LLR only ReLU's stay: phi acts near 0, where the others are "
        "linear, and the rate that would give an update of size 1 grows with the width. Under HP, where h_0 "
        "is of order 1, all of them have limits.",
        table(head, rates),
        "The mean size of h after the first step of HPZ at base rate "
        f"{spec['step_rate']:g}, not calibrated, where nothing of the initial hidden matrices is left. tanh "
        "is odd: its first step ends at layer 2, and what is seen above falls with the width, at m = "
        f"infinity with the number of particles ({spec['particles']:,}).",
        table(["|h_1|", *(f"layer {layer}" for layer in range(1, layers + 1))], steps),
    ]
    return Section("\n\n".join(text))


STUDY: Final = Study(
    name=_NAME,
    title="The activation gap at infinite width",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 3, "particles": 1024, "replicas": 2},
    section=_section,
    measure=_measure,
)
