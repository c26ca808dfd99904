"""T3: IP-LLR is muP whose initial hidden matrices fade after the first step (HP); HP against HPZ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch

import ipcore
from ipcore.analysis import Equivalence, Trend, compare_pairs
from ipcore.figures import LawPanel, PowerLaws, Role
from ipcore.theory import preset
from reproduction.data import load
from reproduction.markdown import slope, table
from reproduction.pictures import law, svg
from reproduction.study import Measured, Result, Section, Spec, Study

_UNCAPPED: Final = 1e30
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 64,
    "hidden_layers": 3,
    "steps": [1, 2, 5],
    "examples": 64,
    "widths": [128, 256, 512, 1024, 2048],
    "seeds": 8,
    # (activation, the two parameterizations, base rate, whether first rates are calibrated)
    "pairs": [
        ["relu", "hp", "ip-llr", 1.0, False],
        ["relu", "hp", "hpz", 0.1, True],
        ["identity", "hp", "hpz", 0.1, True],
        ["tanh", "hp", "hpz", 0.1, True],
    ],
}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    inputs = torch.from_numpy(dataset.train.inputs[: spec["examples"]]).double()
    depth, work = spec["hidden_layers"], 0.0
    total = len(spec["pairs"]) * spec["seeds"] * sum(m * m for m in spec["widths"])
    for activation, one, other, rate, calibrated in spec["pairs"]:
        calibration = ipcore.Calibration(readout_target=1.0, cap=_UNCAPPED) if calibrated else None
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                spec["dataset"], depth, width, activation, spec["batch_size"], max(spec["steps"])
            )
            for seed in range(spec["seeds"]):
                runs = [
                    ipcore.RunConfig(preset(name, depth), rate, seed, calibration) for name in (one, other)
                ]
                trainer = ipcore.Trainer(config, runs, dataset, dtype=torch.float64)
                values = {}
                for step in spec["steps"]:
                    trainer.advance(max_steps=step - trainer.step)
                    values[f"distance@{step}"] = relative_distance(*trainer.pack.infer(inputs))
                yield Measured(f"{one} to {other}", depth, width, activation, rate, seed, values)
                work += width * width
                progress(work / total)


def relative_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """|f - f'| / |f| over the fixed inputs."""
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(one))


def comparisons(result: Result) -> dict[tuple[str, str, int], Equivalence]:
    """By pair, activation and step: does the distance fall with the width."""
    found = {}
    for activation, one, other, *_ in result.spec["pairs"]:
        pair = f"{one} to {other}"
        for step in result.spec["steps"]:
            samples = result.samples(f"distance@{step}", parameterization=pair, activation=activation)
            found[pair, activation, step] = compare_pairs(samples, (one, other))
    return found


def _section(result: Result) -> Section:
    compared = comparisons(result)
    widths = result.spec["widths"]
    rows = [
        [
            f"{pair}, {activation}, step {step}",
            *(f"{mean:.2g}" for mean in c.fit.means),
            slope(c.fit.slope),
            "undecided" if c.trend is Trend.UNDECIDED else str(c.trend),
        ]
        for (pair, activation, step), c in compared.items()
    ]
    text = [
        "HP is muP whose initial hidden matrices count m^(-1/2) from the first update on; HPZ removes them. "
        "For 1-homogeneous activations IP-LLR with the same first loss derivative *is* HP, to float error "
        "(`tests/ipcore/test_equivalence.py` trains both in double precision). With their own f_0, "
        "which are m^(-1/2) and m^(-L/2), they come together as the width grows. Relative distance |f - f'| "
        "/ |f| of the outputs on 64 inputs, paired runs (same normals, same batches), double precision:",
        table(["", *(f"m = {m}" for m in widths), "slope", ""], rows),
        "HP to HPZ is measured with calibrated first rates, so that each first update has size 1. For ReLU "
        "the initial matrices should become irrelevant like m^(-1/2). For activations that are linear at 0 "
        "x_1 of HPZ is unrelated to x_0: their inner product, on which the first update of the next matrix "
        "acts, is of order m^(1/2), and the faded initial matrices of HP add as much. So after the first "
        "update nothing should fall there; beyond it our theory says nothing. Measured: "
        f"{_measured(compared)}.",
    ]
    return Section("\n\n".join(text), {"equivalence.svg": _picture(compared, result.spec["seeds"])})


def _measured(compared: Mapping[tuple[str, str, int], Equivalence]) -> str:
    """Which distances fall, in words."""
    found: dict[str, dict[str, list[str]]] = {}
    for (pair, activation, step), c in compared.items():
        by_trend = found.setdefault(f"{pair} with {activation}", {})
        by_trend.setdefault(str(c.trend), []).append(str(step))
    return "; ".join(
        f"{what} {', '.join(f'{trend} at {_steps(steps)}' for trend, steps in by_trend.items())}"
        for what, by_trend in found.items()
    )


def _steps(steps: list[str]) -> str:
    return f"step{'s' if len(steps) > 1 else ''} {', '.join(steps)}"


def _picture(compared: Mapping[tuple[str, str, int], Equivalence], seeds: int) -> str:
    last = max(step for _, _, step in compared)
    laws = tuple(
        law(f"{pair}, {activation}", c.fit, role=Role.GROUP)
        for (pair, activation, step), c in compared.items()
        if step == last
    )
    quantity = f"relative distance of outputs, step {last}"
    return svg(PowerLaws(quantity, (LawPanel("", laws),), 1, "Distance of paired runs", seeds))


STUDY: Final = Study(
    name="equivalence",
    title="IP-LLR, HP and HPZ (T3)",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 3},
    section=_section,
    measure=_measure,
)
