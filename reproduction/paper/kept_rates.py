"""Large first rates that are kept too long: the second step explodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import ipcore
from ipcore.analysis import fit_slope
from ipcore.config import Probes
from ipcore.errors import AnalysisError
from ipcore.figures import Course, CoursePanel, Courses, Law, LawPanel, PowerLaws, Role, layer_name
from ipcore.theory import Parameterization, analyze, format_exponent, preset
from reproduction.data import load
from reproduction.markdown import table
from reproduction.paper.methods import moment
from reproduction.pictures import law, svg
from reproduction.study import Measured, Result, Section, Spec, Study

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 64,
    "hidden_layers": 3,
    "activations": ["relu", "gelu"],
    "rate": 0.1,
    "widths": [64, 128, 256, 512, 1024],
    "seeds": 12,
    "steps": 3,
}
_KEPT: Final = "large rates kept"
_DIVERGED: Final = 1e30
# The first step has the same size at every width then. Without it what the initial matrices add, m^(-1/2) of
# the limit, hides the limit at the widths of an experiment.
_CALIBRATION: Final = ipcore.Calibration(readout_target=1.0, cap=1e30)


def parameterization(name: str, hidden_layers: int) -> Parameterization:
    """IP-LLR, or the same with the rates of its first step at all steps."""
    llr = preset("ip-llr", hidden_layers)
    return replace(llr, phases=llr.phases[:1]) if name == _KEPT else llr


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset, work, depth = load(spec["dataset"]), 0, spec["hidden_layers"]
    total = len(spec["activations"]) * sum(spec["widths"])
    for activation in spec["activations"]:
        for width in spec["widths"]:
            config = ipcore.PackConfig(
                spec["dataset"],
                depth,
                width,
                activation,
                spec["batch_size"],
                spec["steps"],
                weights="none",
                probes=Probes(("coordinates",), steps=tuple(range(spec["steps"] + 1))),
            )
            runs = [
                (name, ipcore.RunConfig(parameterization(name, depth), spec["rate"], seed, _CALIBRATION))
                for name in ("ip-llr", _KEPT)
                for seed in range(spec["seeds"])
            ]
            values: list[dict[str, float]] = [{} for _ in runs]
            trainer = ipcore.Trainer(config, [run for _, run in runs], dataset)
            for position, metric, step, value in trainer.advance().points.rows():
                if metric.startswith("h/") and value < _DIVERGED:
                    values[position][f"{metric}@{step}"] = value
            for (name, run), own in zip(runs, values, strict=True):
                yield Measured(name, depth, width, activation, run.base_learning_rate, run.seed, own)
            work += width
            progress(work / total)


def _laws(result: Result, name: str, activation: str, step: int) -> Iterator[Law]:
    """Sizes of h^1..h^L and f at a step, beside theory's exponents."""
    depth = result.spec["hidden_layers"]
    steps = analyze(parameterization(name, depth), activation=activation, steps=step).steps
    # Where the first step falls short of order 1, calibration changes the exponents: theory has none then.
    covered = not any((*steps[1].h, steps[1].f))
    sizes = steps[step]
    for layer, theory in enumerate((*sizes.h, sizes.f), start=1):
        samples = result.samples(f"h/{layer}@{step}", parameterization=name, activation=activation)
        yield law(
            layer_name("h", layer, depth + 1),
            fit_slope(samples),
            theory if covered else None,
            role=Role.APART if layer > depth else Role.ORDERED,
            upper_bound=covered and not sizes.exact,
        )


def _section(result: Result) -> Section:
    spec, rows, panels = result.spec, [], []
    depth, names = spec["hidden_layers"], ("ip-llr", _KEPT)
    for activation in spec["activations"]:
        for name in names:
            laws: list[Law] = []
            for step in (1, 2):
                try:
                    laws = list(_laws(result, name, activation, step))
                except AnalysisError as error:
                    rows.append([f"{name}, {activation}, step {step}", str(error), *["-"] * depth])
                    continue
                rows.append([f"{name}, {activation}, step {step}", *map(_cell, laws)])
            if laws:
                panels.append(LawPanel(f"{name}, {activation}", tuple(laws)))
    text = [
        "IP-LLR's first rates are larger than IP's by m^((L-1)/2). They move every layer by order 1 once, "
        "from an initialization at which activations and gradients vanish. After that step gradients are "
        "of order 1/m, so the same rates move layer 1 by m^((L-1)/2) in the second step, and theory calls "
        "the network unstable at any depth L >= 2. Slopes of log mean |h| against log m, measured (theory; "
        "*at most* where theory has an upper bound):",
        table(["", *(f"h^{layer}" for layer in range(1, depth + 1)), "f"], rows),
        "First rates are calibrated, in both alike, so that the first step has its size at every width. Of "
        "activations that are linear at 0 theory says nothing here: calibration changes their exponents.",
    ]
    measured = f"Sizes at step 2, base rate {spec['rate']}, {spec['dataset']}"
    pictures = {
        "kept-rates.svg": svg(PowerLaws("mean |hˡ| at step 2", tuple(panels), 2, measured, spec["seeds"])),
        "kept-rates-steps.svg": svg(_steps(result)),
    }
    return Section("\n\n".join(text), pictures)


def _cell(one: Law) -> str:
    theory = "-" if one.theory is None else format_exponent(one.theory)
    half = max((one.high or 0) - (one.slope or 0), (one.slope or 0) - (one.low or 0))
    return f"{one.slope:.2f} ± {half:.2f} ({'at most ' if one.upper_bound else ''}{theory})"


def _steps(result: Result) -> Courses:
    """Mean |f_t| over the steps, a line for each width."""
    spec = result.spec
    quantity = f"h/{spec['hidden_layers'] + 1}"
    panels = []
    for activation in spec["activations"]:
        for name in ("ip-llr", _KEPT):
            lines = []
            for width in spec["widths"]:
                runs = result.select(parameterization=name, activation=activation, width=width)
                moments = []
                for step in range(spec["steps"] + 1):
                    sizes = [v for run in runs if (v := run.values.get(f"{quantity}@{step}", 0.0)) > 0]
                    if sizes:
                        moments.append(moment(step, sizes, geometric=True))
                lines.append(Course(f"m = {width}", tuple(moments), Role.ORDERED))
            panels.append(CoursePanel(f"{name}, {activation}", tuple(lines)))
    return Courses(
        "mean |fₜ|",
        tuple(panels),
        2,
        "Size of the output over the first updates",
        spec["seeds"],
        logarithmic=True,
    )


STUDY: Final = Study(
    name="kept-rates",
    title="Large rates kept too long",
    spec=_SPEC,
    quick=_SPEC | {"widths": [64, 128, 256], "seeds": 3},
    section=_section,
    measure=_measure,
)
