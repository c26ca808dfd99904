"""Slopes of calibrated first rates of IP-LLR, by activation: where alignment fails, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import ipcore
from ipcore.analysis import CalibratedRate, Verdict, check_calibrated_rates
from ipcore.figures import LawPanel, PowerLaws
from ipcore.theory import analyze, format_exponent, preset
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.pictures import law, svg
from reproduction.study import Measured, Result, Section, Spec, Study

_UNCAPPED: Final = 1e30
_SPEC: Final[dict[str, Any]] = {
    # Gaussian inputs, labels +-1 by a random half space.
    "dataset": "single-index:d=64,n=1024,link=identity,labels=sign",
    "loss": "logistic",
    "batch_size": 256,
    "base_learning_rate": 1.0,
    "widths": [256, 512, 1024, 2048, 4096],
    "seeds": 24,
    "networks": [
        ["relu", 3],
        ["tanh", 3],
        ["identity", 3],
        ["elu", 3],
        ["gelu", 3],
        ["gelu", 4],
    ],
}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    calibration = ipcore.Calibration(readout_target=1.0, cap=_UNCAPPED)
    rate, work = spec["base_learning_rate"], 0.0
    total = len(spec["networks"]) * spec["seeds"] * sum(m * m for m in spec["widths"])
    for activation, depth in spec["networks"]:
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                dataset.name, depth, width, activation, spec["batch_size"], steps=1, loss=spec["loss"]
            )
            for seed in range(spec["seeds"]):
                run = ipcore.RunConfig(preset("ip-llr", depth), rate, seed, calibration)
                # Rates are calibrated before the first step; nothing is trained.
                found = ipcore.Trainer(config, [run], dataset).calibrated_rates[0]
                values = {f"rate/{layer}": value for layer, value in enumerate(found, start=1)}
                yield Measured("ip-llr", depth, width, activation, rate, seed, values)
                work += width * width
                progress(work / total)


Checks = dict[tuple[str, int], tuple[CalibratedRate, ...]]


def checks(result: Result) -> Checks:
    """By activation and depth, for the layers 2..L+1."""
    found = {}
    for activation, depth in result.spec["networks"]:
        analysis = analyze(preset("ip-llr", depth), activation=activation, loss=result.spec["loss"])
        measured = {
            layer: result.samples(f"rate/{layer}", activation=activation, hidden_layers=depth)
            for layer in range(2, depth + 2)
        }
        found[activation, depth] = check_calibrated_rates(measured, analysis)
    return found


def _section(result: Result) -> Section:
    checked = checks(result)
    deepest = max(depth for _, depth in checked)
    rows = [
        [f"{activation}, L={depth}"]
        + [
            f"{slope(r.fit.slope)} ({format_exponent(r.predicted)}) {r.verdict}"
            if r.verdict is not Verdict.AGREES
            else f"{slope(r.fit.slope)} ({format_exponent(r.predicted)})"
            for r in rates
        ]
        + ["-"] * (deepest - depth)
        for (activation, depth), rates in checked.items()
    ]
    spec = result.spec
    text = [
        "Before training, each first rate of IP-LLR is set so that the first update of its layer contributes "
        "1 on average to a second batch. If the calculus holds with aligned layers (ReLU), the base rate "
        "that does this is of order m^0. Where phi is linear near 0, activations that vanish at "
        "initialization are centred and unrelated to the first update of their layer: from layer 3 on the "
        "inner products are random sums, and the calibrated rate grows like m^(1/2). Slopes of the rates "
        "against the width, measured (predicted); a cell without a word agrees within 0.2:",
        table(["", *(f"matrix {layer}" for layer in range(2, deepest + 2))], rows),
        f"Widths {spec['widths'][0]}..{spec['widths'][-1]}, {spec['seeds']} seeds, Gaussian inputs in "
        f"dimension 64, logistic loss, batches of {spec['batch_size']}. The rates are calibrated uncapped.",
        *_conclusions(checked),
    ]
    return Section("\n\n".join(text), {"calibrated-rates.svg": _picture(result, checked)})


def _conclusions(checked: Checks) -> Iterator[str]:
    """What the verdicts allow to be said, and no more."""
    flat, growing = [], []
    for (activation, depth), rates in checked.items():
        name = f"{activation} (L={depth})"
        rising = [rate.fit.slope for rate in rates if rate.predicted > 0]
        if not rising:
            agree = all(rate.verdict is Verdict.AGREES for rate in rates)
            flat.append(f"{name}: {'every matrix agrees' if agree else 'not every matrix is decided'}")
        else:
            sure = sum(slope.low > 0 for slope in rising)
            growing.append(f"{name}: {sure} of {len(rising)} matrices")
    if flat:
        yield (
            "Where no rate should grow, the large first step of IP-LLR has the size that its exponents "
            f"promise if none does: {'; '.join(flat)}."
        )
    if growing:
        yield (
            "Where rates should grow like m^(1/2), the first step falls short by as much, and calibration "
            "hides that by a factor without bound, which the cap of the published code (500) then limits. "
            f"Rates that grow for certain (the interval lies above 0): {'; '.join(growing)}."
        )


def _picture(result: Result, checked: Checks) -> str:
    panels = tuple(
        LawPanel(
            f"{activation}, L = {depth}",
            tuple(law(f"matrix {rate.layer}", rate.fit, rate.predicted, rate.verdict) for rate in rates),
        )
        for (activation, depth), rates in checked.items()
    )
    return svg(PowerLaws("calibrated base rate", panels, 3, "Calibrated first rates", result.spec["seeds"]))


STUDY: Final = Study(
    name="calibrated-rates",
    title="Calibrated first rates of IP-LLR, by activation",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 4, "networks": [["relu", 3], ["tanh", 3]]},
    section=_section,
    measure=_measure,
)
