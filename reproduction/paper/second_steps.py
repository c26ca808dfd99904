"""A second step with rates renormalized as in the first: by which power of the width they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch

import ipcore
from ipcore.analysis import Estimate, fit_slope
from ipcore.figures import LawPanel, PowerLaws
from ipcore.models.scales import biased_layers, rate_factors
from ipcore.randomness import calibration_batches
from ipcore.theory import preset
from ipcore.training.calibration import calibrate
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.pictures import law, svg
from reproduction.study import Measured, Result, Section, Spec, Study

_UNCAPPED: Final = ipcore.Calibration(readout_target=1.0, cap=1e30)
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 128,
    "hidden_layers": 3,
    "activations": ["relu", "gelu", "tanh"],
    "rate": 1.0,
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 8,
}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset, work = load(spec["dataset"]), 0
    total = len(spec["activations"]) * sum(width**2 for width in spec["widths"])
    p = preset("ip-llr", spec["hidden_layers"])
    for activation in spec["activations"]:
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                spec["dataset"],
                spec["hidden_layers"],
                width,
                activation,
                spec["batch_size"],
                2,
                weights="none",
            )
            runs = [ipcore.RunConfig(p, spec["rate"], seed, _UNCAPPED) for seed in range(spec["seeds"])]
            trainer = ipcore.Trainer(config, runs, dataset)
            trainer.advance(max_steps=1)
            for run, rates in zip(runs, second_rates(trainer), strict=True):
                values = {f"rate/{layer}": rate for layer, rate in enumerate(rates, start=1)}
                yield Measured(
                    "ip-llr", spec["hidden_layers"], width, activation, spec["rate"], run.seed, values
                )
            work += width**2
            progress(work / total)


def second_rates(trainer: ipcore.Trainer) -> list[tuple[float, ...]]:
    """Base rates of the second step that move every layer by 1, in units of IP's own rates, per run.

    Args:
        trainer: After its first update.
    """
    train, width = trainer.dataset.train, trainer.config.width
    batches = [
        torch.from_numpy(indices) for indices in calibration_batches(len(train), trainer.config.batch_size)
    ]
    inputs, labels = torch.from_numpy(train.inputs), torch.from_numpy(train.labels)
    return calibrate(
        trainer.pack,
        first=(inputs[batches[0]], labels[batches[0]]),
        second=inputs[batches[1]],
        base_rates=[run.base_learning_rate for run in trainer.runs],
        factors=[rate_factors(run.parameterization, width, 1) for run in trainer.runs],
        settings=[_UNCAPPED for _ in trainer.runs],
        biased=[biased_layers(run.parameterization, trainer.config.bias) > 0 for run in trainer.runs],
    )


def _off_zero(slopes: Mapping[str, Estimate]) -> str:
    """Which slopes have an interval that excludes 0."""
    found = [name for name, one in slopes.items() if one.low > 0 or one.high < 0]
    return f"Intervals that exclude 0: {', '.join(found) or 'none'}."


def _section(result: Result) -> Section:
    spec, rows, panels, slopes = result.spec, [], [], dict[str, Estimate]()
    layers = range(2, spec["hidden_layers"] + 2)
    for activation in spec["activations"]:
        fits = {layer: fit_slope(result.samples(f"rate/{layer}", activation=activation)) for layer in layers}
        slopes |= {f"{activation}'s matrix {layer}": fit.slope for layer, fit in fits.items()}
        rows.append([activation, *(slope(fit.slope) for fit in fits.values())])
        panels.append(LawPanel(activation, tuple(law(f"matrix {layer}", fit) for layer, fit in fits.items())))
    text = [
        "The first step of IP-LLR as calibrated; then the second one is renormalized in the same way, layer "
        "by layer from below, so that mean |Delta W^l x^{l-1}| = 1 on a second batch. The rates that do "
        "this are given in units of IP's own rates, m^(-c) with c = -1, -2, -1. Where the first step leaves "
        "every layer at order 1, its gradients are those of IP, and theory expects slopes of 0: a "
        "renormalized second step *is* a step with IP's rates. For GELU and tanh calibrated first rates "
        "grow with the width (see above), and so do the entries of the first updates and the gradients: of "
        f"these theory says nothing here. {_off_zero(slopes)}",
        table(["slope of the rate", *(f"matrix {layer}" for layer in layers)], rows),
    ]
    quantity = "renormalized base rate of step 2"
    measured = f"Rates of the second step, in units of IP's, {spec['dataset']}"
    picture = svg(PowerLaws(quantity, tuple(panels), len(panels), measured, spec["seeds"]))
    return Section("\n\n".join(text), {"second-steps.svg": picture})


STUDY: Final = Study(
    name="second-steps",
    title="Renormalized second steps",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 4},
    section=_section,
    measure=_measure,
)
