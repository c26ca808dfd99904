"""What the initial weights and what their updates contribute to each layer, by width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

import torch

import ipcore
from ipcore.analysis import fit_slope
from ipcore.figures import LawPanel, PowerLaws, Role, layer_name
from ipcore.probes.state import look
from ipcore.theory import analyze, format_exponent, parts_of, preset
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.paper.methods import calibrated
from reproduction.pictures import law, svg
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 64,
    "hidden_layers": 3,
    "activation": "relu",
    "methods": ["ip-llr", "mup", "ntk"],
    "rate": 0.1,
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 4,
    "steps": [1, 50],
    "examples": 64,
}
_PARTS: Final = {"initial": "W₀ xₜ", "updates": "(Wₜ − W₀) xₜ"}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset, work = load(spec["dataset"]), 0
    inputs = torch.from_numpy(dataset.train.inputs[: spec["examples"]])
    total = spec["seeds"] * sum(width**2 for width in spec["widths"])
    for width in spec["widths"]:
        config = ipcore.PackConfig(
            spec["dataset"],
            spec["hidden_layers"],
            width,
            spec["activation"],
            spec["batch_size"],
            max(spec["steps"]),
            weights="none",
        )
        for seed in range(spec["seeds"]):
            runs = [calibrated(name, spec["hidden_layers"], spec["rate"], seed) for name in spec["methods"]]
            trainer = ipcore.Trainer(config, runs, dataset)
            initial = [weight.clone() for weight in trainer.pack.weights]
            values: list[dict[str, float]] = [{} for _ in runs]
            for step in spec["steps"]:
                trainer.advance(max_steps=step - trainer.step)
                for own, sizes in zip(values, contributions(trainer, initial, inputs), strict=True):
                    own |= {f"{name}@{step}": size for name, size in sizes.items()}
            for name, own in zip(spec["methods"], values, strict=True):
                yield Measured(
                    name, spec["hidden_layers"], width, spec["activation"], spec["rate"], seed, own
                )
            work += width**2
            progress(work / total)


def contributions(
    trainer: ipcore.Trainer, initial: Sequence[torch.Tensor], inputs: torch.Tensor
) -> Iterator[dict[str, float]]:
    """Per run: mean |W_0^l x_t^{l-1}| and mean |(W_t^l - W_0^l) x_t^{l-1}| of layers 2..L+1.

    Args:
        trainer: Trainer of the networks at step t.
        initial: Effective weights at step 0, by layer.
        inputs: (n, d).
    """
    state = look(trainer.pack, slice(None), inputs)
    found: list[dict[str, float]] = [{} for _ in trainer.runs]
    for layer in range(2, trainer.pack.shape.layers + 1):
        first, x = initial[layer - 1], state.below[layer]
        for name, weight in (("initial", first), ("updates", state.weights[layer] - first)):
            sizes = torch.bmm(x, weight.mT).abs().mean(dim=(1, 2), dtype=torch.float64)
            for own, size in zip(found, sizes.tolist(), strict=True):
                own[f"{name}/{layer}"] = size
    yield from found


def predicted(method: str, spec: Spec, part: str, layer: int, step: int) -> Fraction | None:
    """Exponent of a contribution; None: exactly zero."""
    analysis = analyze(preset(method, spec["hidden_layers"]), activation=spec["activation"])
    parts = parts_of(analysis, step)[layer - 1]
    if part == "updates":
        return parts.update
    return parts.start if parts.below is None else max(parts.start, parts.below)


def _section(result: Result) -> Section:
    spec, rows, panels = result.spec, [], []
    last, layers = spec["steps"][-1], range(2, spec["hidden_layers"] + 2)
    for step in spec["steps"]:
        for method in spec["methods"]:
            cells = []
            for layer in layers:
                sizes = {
                    part: result.samples(f"{part}/{layer}@{step}", parameterization=method) for part in _PARTS
                }
                fit = fit_slope(sizes["initial"])
                theory = predicted(method, spec, "initial", layer, step)
                own, updates = (float(sizes[part].values[-1].mean()) for part in _PARTS)
                expected = "-" if theory is None else format_exponent(theory)
                cells.append(f"{own / (own + updates):.2f}; {slope(fit.slope)} ({expected})")
            rows.append([f"{method}, step {step}", *cells])
    for part, name in _PARTS.items():
        for method in spec["methods"]:
            laws = []
            for layer in layers:
                fit = fit_slope(result.samples(f"{part}/{layer}@{last}", parameterization=method))
                readout = layer == spec["hidden_layers"] + 1
                laws.append(
                    law(
                        layer_name("h", layer, spec["hidden_layers"] + 1),
                        fit,
                        predicted(method, spec, part, layer, last),
                        role=Role.APART if readout else Role.ORDERED,
                    )
                )
            panels.append(LawPanel(f"{method}: {name}", tuple(laws)))
    widest = spec["widths"][-1]
    text = [
        "What a layer receives is W_0 x_t + (W_t - W_0) x_t, with x_t the activations of the layer below. "
        f"Each cell: the share of mean |W_0 x_t| in the sum of both means at width {widest}; then the slope "
        "of its logarithm against log m, measured (theory's exponent). First rates of IP-LLR are calibrated. "
        "A share that falls like m^(-1/2) is what makes IP-LLR, after its first step, a muP without its "
        "initial hidden matrices.",
        table(["share; slope of W_0 x_t", *(f"h^{layer}" for layer in layers[:-1]), "f"], rows),
    ]
    quantity = f"mean |contribution| at step {last}"
    measured = f"Contributions of initial weights and of their updates, {spec['activation']}"
    picture = svg(PowerLaws(quantity, tuple(panels), len(spec["methods"]), measured, spec["seeds"]))
    return Section("\n\n".join(text), {"contributions.svg": picture})


STUDY: Final = Study(
    name="contributions",
    title="Initial weights against their updates",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 3, "steps": [1, 10]},
    section=_section,
    measure=_measure,
)
