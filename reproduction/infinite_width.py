"""Finite networks beside their infinite-width limit: distances against width, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

import ipcore
from ipcore.analysis import LimitDistance, fit_distances
from ipcore.data import Dataset
from ipcore.errors import AnalysisError
from ipcore.figures import Law, LawPanel, PowerLaws, Role, Size
from ipcore.limits.trainer import LimitTrainer
from ipcore.probes.paired import DISTANCE as PAIRED_DISTANCE
from ipcore.probes.paired import PAIRED_OUTPUTS
from ipcore.theory import preset
from reproduction.data import load
from reproduction.kept import kept
from reproduction.markdown import slope, table
from reproduction.pictures import svg
from reproduction.study import Measured, Result, Section, Spec, Study, StudyError

# (parameterization, hidden layers, activation, base rate, readout target or None, widths, seeds at each)
_WIDE: Final = [[128, 512, 2048, 8192], [10, 8, 6, 4]]
_MEASURABLE: Final = [[128, 512, 2048], [10, 8, 6]]
_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 32,
    "steps": [10],
    "data_seed": 0,
    "particles": 8192,
    "replicas": 6,
    "reference_width": 32768,
    "cases": [
        ["hpz", 2, "relu", 0.03, 0.1, *_WIDE],
        ["ip-llr", 2, "relu", 0.03, 0.1, *_WIDE],
        ["hpz", 3, "relu", 0.03, 0.1, *_WIDE],
        ["hp", 3, "relu", 0.03, 0.1, *_WIDE],
        ["ntk", 3, "relu", 0.03, None, *_MEASURABLE],
    ],
}
# Those that take most of the time.
_DEEP: Final[dict[str, Any]] = {
    **_SPEC,
    "cases": [
        ["ip-llr", 3, "relu", 0.03, 0.1, *_WIDE],
        ["mup", 3, "relu", 0.1, None, *_MEASURABLE],
        ["ip-llr", 4, "relu", 0.03, 0.1, *_WIDE],
    ],
}
# Deep networks differ most from seed to seed: more seeds, widths and replicas than elsewhere.
_SIX: Final[dict[str, Any]] = {
    **_SPEC,
    "replicas": 12,
    "cases": [
        [
            *["ip-llr", 6, "relu", 0.03, 0.1],
            [128, 256, 512, 1024, 2048, 4096],
            [24, 24, 24, 20, 16, 12],
        ],
    ],
}
# Networks with more neurons than this for every example they see have deferred weights.
_DEFERRED: Final = 6
_LIMIT: Final = -1  # "seed" of the row that holds what all seeds of a width share
Outputs = dict[int, npt.NDArray[np.float64]]  # by step: (seeds, n C)


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    shared = {name: value for name, value in spec.items() if name != "cases"}
    for i, case in enumerate(spec["cases"]):
        part = shared | {"case": case}
        yield from kept(
            f"infinite-width-{spec['dataset']}", part, lambda case=case: _case(spec, case, dataset)
        )
        progress((i + 1) / len(spec["cases"]))


def _case(spec: Spec, case: Sequence[Any], dataset: Dataset) -> Iterator[Measured]:
    """Squared distances of every seed, and what all seeds of a width share."""
    name, layers, phi, rate, _, widths, seeds = case
    if name == "ntk":
        yield from _kernel_case(spec, case, dataset)
        return
    limit = _reference(spec, case, dataset)
    for width, count in zip(widths, seeds, strict=True):
        found = _networks(spec, case, width, range(count), dataset)
        rows, shared = dict[int, dict[str, float]](), dict[str, float]()
        for step in spec["steps"]:
            f = limit[step].mean(axis=0)
            own = limit[step].var(axis=0, ddof=1).sum() / len(limit[step])
            unit, values = f @ f, found[step]
            variance = values.var(axis=0, ddof=1).sum() / unit
            off = values.mean(axis=0) - f
            shared[f"own@{step}"] = own / unit
            shared[f"variance@{step}"] = variance
            shared[f"bias@{step}"] = off @ off / unit - variance / count - own / unit
            for seed, square in enumerate(((values - f) ** 2).sum(axis=1) / unit):
                rows.setdefault(seed, {})[f"square@{step}"] = float(square)
        for seed, values in [*rows.items(), (_LIMIT, shared)]:
            numbers = {key: float(value) for key, value in values.items()}
            yield Measured(name, layers, width, phi, rate, seed, numbers)


def _config(spec: Spec, case: Sequence[Any], width: int, **more: Any) -> ipcore.PackConfig:
    _, layers, phi, *_ = case
    steps = max(spec["steps"])
    config = ipcore.PackConfig(spec["dataset"], layers, width, phi, spec["batch_size"], steps, weights="none")
    return replace(config, **more)


def _run(case: Sequence[Any], seed: int) -> ipcore.RunConfig:
    name, layers, _, rate, target, *_ = case
    calibration = None if target is None else ipcore.Calibration(target, cap=1e20)
    return ipcore.RunConfig(preset(name, layers), rate, seed, calibration)


def _read(spec: Spec, lines: Sequence[Mapping[str, Any]]) -> Iterator[Measured]:
    """What the part "limits" of `tests/gpu.sh` has measured of the cases; widths may be missing."""
    by_piece = {line["piece"]: line for line in lines}
    (step,) = spec["steps"]
    for name, layers, phi, rate, _, widths, seeds in spec["cases"]:
        stem = f"distance {spec['dataset']} {name} L={layers}"
        reference = by_piece.get(f"{stem} reference")
        if reference is None:
            continue
        size = spec["reference_width"] if name == "mup" else spec["particles"]
        if (reference["m"], reference["replicas"]) != (size, spec["replicas"]):
            raise StudyError(
                f"{stem}: the reference has {reference['replicas']} replicas of size {reference['m']}, not "
                f"{spec['replicas']} of {size}"
            )
        for width, count in zip(widths, seeds, strict=True):
            line = by_piece.get(f"{stem} m={width}")
            if line is None:
                continue
            if len(line["squares"]) != count:
                raise StudyError(f"{stem} m={width}: {len(line['squares'])} seeds, not {count}")
            for seed, square in enumerate(line["squares"]):
                yield Measured(name, layers, width, phi, rate, seed, {f"square@{step}": square})
            shared = {f"{part}@{step}": line[part] for part in ("own", "variance", "bias")}
            yield Measured(name, layers, width, phi, rate, _LIMIT, shared)


def _reference(spec: Spec, case: Sequence[Any], dataset: Dataset) -> Outputs:
    """Outputs of every replica of the limit; of muP, of networks far wider than those compared."""
    if case[0] == "mup":
        return _networks(spec, case, spec["reference_width"], range(1000, 1000 + spec["replicas"]), dataset)
    config = _config(spec, case, spec["particles"], infinite_width=True, replicas=1)
    # One replica at a time needs the memory of one.
    trained = [_limit_outputs(spec, config, _run(case, 1000 + i), dataset) for i in range(spec["replicas"])]
    return {step: np.stack([one[step] for one in trained]) for step in spec["steps"]}


def _limit_outputs(
    spec: Spec, config: ipcore.PackConfig, run: ipcore.RunConfig, dataset: Dataset
) -> dict[int, npt.NDArray[np.float64]]:
    trainer = LimitTrainer(config, [run], dataset, threads=1, data_seed=spec["data_seed"])
    found = {}
    for step in spec["steps"]:
        trainer.advance(max_steps=step - trainer.step)
        found[step] = trainer.outputs(0)[0].double().flatten().numpy()
    return found


def _networks(spec: Spec, case: Sequence[Any], width: int, seeds: range, dataset: Dataset) -> Outputs:
    """Outputs of networks of a width, dense or with deferred weights, whichever takes less time."""
    config = _config(spec, case, width, deferred=True)
    if width > _DEFERRED * max(spec["steps"]) * spec["batch_size"]:
        trained = [_limit_outputs(spec, config, _run(case, seed), dataset) for seed in seeds]
        return {step: np.stack([one[step] for one in trained]) for step in spec["steps"]}
    inputs, trained = torch.from_numpy(dataset.test.inputs), []
    for seed in seeds:
        run = _run(case, seed)
        dense = ipcore.Trainer(
            replace(config, deferred=False), [run], dataset, threads=1, data_seed=spec["data_seed"]
        )
        found = {}
        for step in spec["steps"]:
            dense.advance(max_steps=step - dense.step)
            found[step] = dense.pack.infer(inputs)[0].double().flatten().numpy()
        trained.append(found)
    return {step: np.stack([one[step] for one in trained]) for step in spec["steps"]}


def _kernel_case(spec: Spec, case: Sequence[Any], dataset: Dataset) -> Iterator[Measured]:
    """Every network beside the kernel machine that starts from the network's own f_0."""
    name, layers, phi, rate, _, widths, seeds = case
    for width, count in zip(widths, seeds, strict=True):
        for seed in range(count):
            probes = ipcore.Probes((PAIRED_OUTPUTS,), steps=tuple(spec["steps"]))
            config = _config(spec, case, width, probes=probes)
            network = ipcore.Trainer(
                config, [_run(case, seed)], dataset, threads=1, data_seed=spec["data_seed"]
            )
            values = {
                f"square@{step}": value**2
                for _, metric, step, value in network.advance().points.rows()
                if metric == PAIRED_DISTANCE
            }
            yield Measured(name, layers, width, phi, rate, seed, values)


def distances(result: Result, case: Sequence[Any], step: int) -> LimitDistance | None:
    """What was measured of a case; None where networks are nearer to the limit than its own error."""
    name, layers, phi, _, _, widths, _ = case
    squares, parts, own = dict[int, list[float]](), dict[int, tuple[float, float]](), 0.0
    for width in widths:
        rows = result.select(parameterization=name, hidden_layers=layers, activation=phi, width=width)
        squares[width] = [r.values[f"square@{step}"] for r in rows if r.seed != _LIMIT]
        parts[width] = float("nan"), float("nan")
        for shared in (r.values for r in rows if r.seed == _LIMIT):
            own = shared[f"own@{step}"]
            parts[width] = shared[f"variance@{step}"], shared[f"bias@{step}"]
    try:
        return fit_distances(squares, parts, own=own, needed=(0.1, 0.05))
    except AnalysisError:
        return None


def _title(case: Sequence[Any]) -> str:
    return f"{case[0]}, L={case[1]}"


def _section(result: Result) -> Section:
    spec = result.spec
    last = max(spec["steps"])
    widths = sorted({width for case in spec["cases"] for width in case[5]})
    rows = []
    for case in spec["cases"]:
        found = distances(result, case, last)
        if found is None:
            rows.append([_title(case), *["-"] * (len(widths) + 4)])
            continue
        by_width = {row.width: row for row in found.widths}
        cells = [f"{by_width[m].distance.value:.3f}" if m in by_width else "" for m in widths]
        wide = found.widths[-1]
        share = "" if np.isnan(wide.bias) else f"{wide.bias / (wide.variance + wide.bias):.2f}"
        needed = found.needed[1]
        mark = "*" if needed.extrapolated else ""
        rows.append(
            [
                _title(case),
                *cells,
                slope(found.slope),
                slope(found.end),
                share,
                f"{needed.width.value:,.0f}{mark} [{needed.width.low:,.0f}, {needed.width.high:,.0f}]",
            ]
        )
    head = ["", *(f"m = {m}" for m in widths), "slope", "last slope", "bias share", "m* for 0.05"]
    named = {case[0] for case in spec["cases"]}
    parts = [
        f"Relative distance D of the outputs on the test set of {spec['dataset']} to the limit "
        f"(`docs/limits.md`) after {last} updates of {spec['batch_size']} examples, cross entropy, the "
        "batches of one seed for all.",
        f"IP-LLR, HP and HPZ: {spec['replicas']} systems of {spec['particles']:,} particles; first rates are "
        "calibrated, by each network and by the limit for itself, with readout target 0.1.",
    ]
    if "mup" in named:
        parts.append(
            f"muP has no algorithm at m = infinity: its reference are {spec['replicas']} networks of width "
            f"{spec['reference_width']:,}, 16 times the widest compared."
        )
    if "ntk" in named:
        parts.append(
            "NTK: the kernel machine that starts from each network's own f_0, relative to |f - f_0|."
        )
    if not result.command:
        parts.append("Networks wider than six times the number of examples they see have deferred weights.")
    parts.append(
        "The reference's own error is taken out; 95 % intervals are over seeds. The last slope is that "
        "between the two largest widths; the bias share is b^2 of D^2 at the largest; a star marks a width "
        "that is extrapolated."
    )
    text = [
        " ".join(parts),
        table(head, rows),
        "A variance over seeds of order 1/m gives slope -1/2.",
    ]
    return Section("\n\n".join(text), {f"{result.study}.svg": _picture(result)})


def _picture(result: Result) -> str:
    last = max(result.spec["steps"])
    groups = {
        "IP-LLR": [case for case in result.spec["cases"] if case[0] == "ip-llr"],
        "Others": [case for case in result.spec["cases"] if case[0] != "ip-llr"],
    }
    if {case[0] for case in groups["Others"]} == {"mup"}:
        groups["muP"] = groups.pop("Others")
    panels = []
    for title, cases in groups.items():
        laws = tuple(_law(_title(case), found) for case in cases if (found := distances(result, case, last)))
        if laws:
            panels.append(LawPanel(title, laws))
    seeds = min(min(case[6]) for case in result.spec["cases"])
    measured = f"Distance to the infinite-width limit after {last} updates, {result.spec['dataset']}"
    return svg(PowerLaws("relative distance of outputs", tuple(panels), 2, measured, seeds))


def _law(name: str, found: LimitDistance) -> Law:
    sizes = tuple(
        Size(row.width, row.distance.value, max(row.distance.low, row.distance.value / 10), row.distance.high)
        for row in found.widths
    )
    slope = found.slope
    return Law(name, sizes, slope.value, slope.low, slope.high, Fraction(-1, 2), role=Role.GROUP)


_WIDEST: Final = [[128, 256, 512, 1024, 2048, 4096, 8192, 16384], [8] * 8]
_NARROW: Final = [[64, 128, 256, 512, 1024, 2048], [8] * 6]
_MNIST: Final = {
    **_SPEC,
    "dataset": "mnist",
    "batch_size": 64,
    "steps": [100],
    "particles": 131072,
    "replicas": 4,
    "reference_width": 32768,
    "cases": [
        ["ip-llr", 2, "relu", 0.03, 0.1, *_WIDEST],
        ["mup", 2, "relu", 0.1, None, *_NARROW],
        ["ip-llr", 3, "relu", 0.03, 0.1, *_WIDEST],
        ["mup", 3, "relu", 0.1, None, *_NARROW],
    ],
}
MNIST: Final = Study(
    name="infinite-width-mnist",
    title="Networks beside their infinite-width limit: MNIST",
    spec=_MNIST,
    quick={
        **_MNIST,
        "steps": [3],
        "particles": 512,
        "reference_width": 512,
        "cases": [
            ["ip-llr", 2, "relu", 0.03, 0.1, [16, 32, 64], [4, 4, 4]],
            ["mup", 2, "relu", 0.1, None, [8, 16, 32], [4, 4, 4]],
        ],
    },
    section=_section,
    measure=_measure,
    file="limits.jsonl",
    read=_read,
)
DEEP: Final = Study(
    name="infinite-width-deep",
    title="Networks beside their infinite-width limit: deeper ones, and muP",
    spec=_DEEP,
    quick={
        **_DEEP,
        "particles": 2048,
        "steps": [4],
        "cases": [
            ["ip-llr", 4, "relu", 0.03, 0.1, [32, 64, 128], [6, 6, 6]],
        ],
    },
    section=_section,
    measure=_measure,
)
SIX: Final = Study(
    name="infinite-width-six-layers",
    title="Networks beside their infinite-width limit: six hidden layers",
    spec=_SIX,
    quick={
        **_SIX,
        "particles": 2048,
        "replicas": 3,
        "steps": [4],
        "cases": [["ip-llr", 6, "relu", 0.03, 0.1, [32, 64, 128], [6, 6, 6]]],
    },
    section=_section,
    measure=_measure,
)
STUDY: Final = Study(
    name="infinite-width",
    title="Networks beside their infinite-width limit",
    spec=_SPEC,
    quick={
        **_SPEC,
        "particles": 2048,
        "replicas": 3,
        "reference_width": 2048,
        "steps": [2, 4],
        "cases": [
            ["hpz", 2, "relu", 0.03, 0.1, [32, 64, 128], [6, 6, 6]],
            ["mup", 2, "relu", 0.1, None, [32, 64, 128], [6, 6, 6]],
            ["ntk", 2, "relu", 0.03, None, [32, 64, 128], [6, 6, 6]],
        ],
    },
    section=_section,
    measure=_measure,
)
