"""Residual blocks and normalized preactivations: sizes over the width, and changes over the depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import ipcore
from ipcore.analysis import Samples, fit_slope
from ipcore.config import Probes
from ipcore.errors import AnalysisError
from ipcore.models import Model, ResidualMlp, model_from
from ipcore.theory import (
    Analysis,
    Parameterization,
    analyze,
    custom,
    depth_exponents,
    format_exponent,
    preset,
)
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.study import Measured, Result, Section, Spec, Study

# A rate exponent that leaves a matrix where it is.
_FROZEN: Final = 6
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 32,
    "activation": "relu",
    "base_rate": 0.5,
    "seeds": 3,
    "widths": [128, 256, 512, 1024, 2048],
    # (label, preset, c of hidden matrices or null for the preset's, hidden layers or blocks, model)
    "cases": [
        ["IP, blocks of 1", "ip", None, 2, {"name": "residual-mlp", "branch_multiplier": "1"}],
        [
            "IP, blocks of 2", "ip", None, 2,
            {"name": "residual-mlp", "branch_multiplier": "1", "block_matrices": 2},
        ],
        ["IP, normalized, hidden c = -1", "ip", "-1", 3, {"name": "mlp", "normalization": "rms"}],
        ["IP, normalized, hidden c = -2", "ip", None, 3, {"name": "mlp", "normalization": "rms"}],
        ["muP, normalized", "mup", None, 3, {"name": "mlp", "normalization": "rms"}],
        [
            "muP, blocks of 1, normalized", "mup", None, 2,
            {"name": "residual-mlp", "branch_multiplier": "1", "normalization": "rms"},
        ],
    ],
    "depths": {
        "width": 64,
        "blocks": [4, 8, 16, 32, 64],
        # (optimizer, branch multiplier, normalization)
        "cases": [
            ["sgd", "depth^-1/2", "none"],
            ["sgd", "depth^-1", "none"],
            ["signum", "depth^-1/2", "none"],
            ["signum", "depth^-1", "none"],
            ["sgd", "depth^-1/2", "rms"],
            ["sgd", "depth^-1", "rms"],
        ],
    },
}  # fmt: skip


def _network(case: Sequence[Any]) -> tuple[Model, Parameterization]:
    _, name, hidden, depth, settings = case
    model = model_from(settings)
    p = preset(name, model.layers(depth) - 1)
    if hidden is not None:
        c = p.c_at(0)
        p = custom(p.hidden_layers, a=p.a, b=p.b, c=[c[0], *[hidden] * (p.hidden_layers - 1), c[-1]])
    return model, p


def predicted(spec: Spec) -> dict[str, Analysis]:
    """What theory says of every case over the width."""
    found = {}
    for case in spec["cases"]:
        model, p = _network(case)
        found[case[0]] = analyze(
            p,
            activation=spec["activation"],
            block_matrices=model.block_matrices if isinstance(model, ResidualMlp) else 0,
            normalization=case[-1].get("normalization", "none"),
            steps=1,
        )
    return found


def _depth_label(optimizer: str, multiplier: str, normalization: str) -> str:
    return f"{optimizer}, multiplier {multiplier}{', normalized' if normalization == 'rms' else ''}"


def _deep(spec: Spec, optimizer: str, multiplier: str, normalization: str, blocks: int) -> Any:
    """Model and parameterization of N blocks of two matrices, which alone are trained.

    Their rates are those at which theory expects changes of order 1: muP's times a power of N, which is
    written as a power of the width.
    """
    model = ResidualMlp(multiplier, 2, normalization)
    rate = depth_exponents(model.alpha, optimizer).rate
    octaves = math.log2(blocks) / math.log2(spec["depths"]["width"])
    more = Fraction(octaves).limit_denominator(1000) * rate
    p = preset("mup", model.layers(blocks) - 1, optimizer=optimizer)
    c = [entry - more for entry in p.c_at(0)]
    return model, custom(p.hidden_layers, a=p.a, b=p.b, c=[_FROZEN, *c[1:-1], _FROZEN])


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    total, work = sum(m**2 for m in spec["widths"]) * len(spec["cases"]), 0
    for case in spec["cases"]:
        model, p = _network(case)
        for width in spec["widths"]:
            yield from _train(spec, case[0], model, p, "sgd", case[3], width, dataset)
            work += width**2
            progress(work / total)
    for entry in spec["depths"]["cases"]:
        for blocks in spec["depths"]["blocks"]:
            model, p = _deep(spec, *entry, blocks)
            label = _depth_label(*entry)
            yield from _train(spec, label, model, p, entry[0], blocks, spec["depths"]["width"], dataset)


def _train(
    spec: Spec,
    label: str,
    model: Model,
    p: Parameterization,
    optimizer: str,
    depth: int,
    width: int,
    dataset: ipcore.Dataset,
) -> Iterator[Measured]:
    """One update; mean |h| before and mean |change| of all layers."""
    config = ipcore.PackConfig(
        spec["dataset"],
        depth,
        width,
        spec["activation"],
        spec["batch_size"],
        1,
        optimizer=optimizer,
        weights="none",
        model=model,
        probes=Probes(("coordinates", "isolated_updates"), steps=(0, 1), examples=32),
    )
    # Signs do not become smaller with the gradient.
    rate = spec["base_rate"] if optimizer == "sgd" else spec["base_rate"] / 50
    runs = [ipcore.RunConfig(p, rate, seed) for seed in range(spec["seeds"])]
    values: list[dict[str, float]] = [{} for _ in runs]
    for position, name, step, value in ipcore.Trainer(config, runs, dataset).advance().points.rows():
        if (step, name.split("/")[0]) in {(0, "h"), (1, "h_change"), (1, "isolated_change")}:
            values[position][name] = value
    for run, own in zip(runs, values, strict=True):
        yield Measured(label, depth, width, spec["activation"], rate, run.seed, own)


def sizes(result: Result) -> dict[str, dict[str, list[Any]]]:
    """Slopes over the width of h before and of its change, by case and quantity, one per layer."""
    found: dict[str, dict[str, list[Any]]] = {}
    for label, analysis in predicted(result.spec).items():
        count = analysis.parameterization.hidden_layers + 1
        found[label] = {
            quantity: [
                _slope(result.samples(f"{quantity}/{layer}", parameterization=label))
                for layer in range(1, count + 1)
            ]
            for quantity in ("h", "h_change")
        }
    return found


def _slope(samples: Samples) -> Any:
    try:
        return fit_slope(samples.paired()).slope
    except AnalysisError:
        return None


def over_depth(result: Result, label: str) -> Mapping[str, Any]:
    """Slopes over the number of blocks: of h at the end of the stream, and inside the block in the middle.

    Inside it is the change that the block's first matrix makes alone.
    """
    runs = result.select(parameterization=label)
    where = {
        "start of h": lambda n: f"h/{2 * n + 1}",
        "change of h": lambda n: f"h_change/{2 * n + 1}",
        "change inside": lambda n: f"isolated_change/{2 * (n // 2) + 2}",
    }
    return {
        name: _slope(Samples.of({(r.hidden_layers, r.seed): r.values[key(r.hidden_layers)] for r in runs}))
        for name, key in where.items()
    }


def _cell(found: Any, expected: Fraction | None) -> str:
    return (
        f"{'-' if found is None else slope(found)} ({'-' if expected is None else format_exponent(expected)})"
    )


def _section(result: Result) -> Section:
    measured, rows = sizes(result), []
    for label, analysis in predicted(result.spec).items():
        before, after = analysis.steps[0], analysis.steps[1]
        for quantity, expected in (
            ("h", (*before.h, before.f)),
            ("h_change", (*after.h_change, after.f_change)),
        ):
            cells = map(_cell, measured[label][quantity], expected)
            what = "before" if quantity == "h" else "change"
            rows.append([f"{label}: {what}", ", ".join(cells)])
    depth, depths = result.spec["depths"], []
    for optimizer, multiplier, normalization in depth["cases"]:
        label = _depth_label(optimizer, multiplier, normalization)
        theory = depth_exponents(ResidualMlp(multiplier).alpha, optimizer)
        found = over_depth(result, label)
        expected = (theory.start, Fraction(0), theory.in_block)
        depths.append([label, *map(_cell, found.values(), expected)])
    text = [
        "Networks with residual blocks, or with normalized preactivations, before and after one update of "
        "gradient descent: slopes of mean |h| and of the mean change against m, layer by layer and last the "
        "output, with theory's exponents ([theory.md](theory.md), section 5). Branches are not multiplied.",
        table(["", "measured (theory)"], rows),
        f"Over the depth, {depth['blocks'][0]} to {depth['blocks'][-1]} blocks of two matrices at width "
        f"{depth['width']}, of which only blocks are trained, for one update at the rates at which h should "
        "change by order 1: slopes against the number of blocks.",
        table(["", "start of h", "change of h", "change inside a block by its own matrix"], depths),
    ]
    return Section("\n\n".join(text))


STUDY: Final = Study(
    name="blocks",
    title="Residual blocks and normalized preactivations",
    spec=_SPEC,
    quick=_SPEC
    | {"widths": [64, 128, 256], "seeds": 2, "depths": _SPEC["depths"] | {"blocks": [2, 4, 8], "width": 16}},
    section=_section,
    measure=_measure,
)
