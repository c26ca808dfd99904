"""Isolated updates: which of twelve injected mistakes are found, and where, and whether right networks pass.

Networks are trained once, many seeds at each width. Studies and checks then draw their seeds from these with
replacement, so that their rates of errors are those of many experiments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import ipcore
from ipcore import analysis
from ipcore.analysis.kinds.isolated_updates import BIAS
from ipcore.config import OptimizerSettings, Probes
from ipcore.studies import Budget, CoordinateCheck, Outcome, Results, RunNext, Setting, Subject, planner
from ipcore.studies import Metric as Wanted
from ipcore.studies import Run as Asked
from ipcore.theory import Parameterization
from reproduction.bugs import ACTIVATION, DEPTH, Case, cases
from reproduction.data import load
from reproduction.markdown import table
from reproduction.study import Measured, Result, Section, Spec, Study

Cell = tuple[str, int, int]
"""Quantity, layer, and the state at which it is recorded."""
Bank = Mapping[int, list[Mapping[Cell, float]]]
"""What runs recorded, by width and seed."""

_SPEC: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 64,
    "hidden_layers": DEPTH,
    "activation": ACTIVATION,
    "widths": [64, 128, 256, 512],
    # Seeds by width; a study may double its widths once.
    "bank": {"64": 24, "128": 24, "256": 24, "512": 24, "1024": 8},
    "studies": 40,
    "study_budget": 600,
    "check_seeds": 8,
    "checks": 20,
    "cases": [case.name for case in cases()],
}


def _measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    dataset = load(spec["dataset"])
    total = len(spec["cases"])
    for done, case in enumerate(cases()):
        bank = {}
        for place, (width, seeds) in enumerate(spec["bank"].items()):
            bank[int(width)] = train(case, int(width), seeds, spec, dataset)
            progress((done + (place + 1) / len(spec["bank"])) / total)
        values = {"slope": slope(case, bank)}
        for name, found in (("study", _studies(case, bank, spec)), ("check", _checks(case, bank, spec))):
            values |= {f"{name}_{key}": value for key, value in found.items()}
        yield Measured(case.name, DEPTH, max(bank), ACTIVATION, case.rate, 0, values)


def train(
    case: Case, width: int, count: int, spec: Spec, dataset: ipcore.Dataset
) -> list[Mapping[Cell, float]]:
    """What the runs of a case record at a width, by seed."""
    quantities = ("coordinates", "isolated_updates") + ("gradients",) * (case.optimizer == "adam")
    config = ipcore.PackConfig(
        spec["dataset"],
        DEPTH,
        width,
        ACTIVATION,
        spec["batch_size"],
        case.steps,
        bias="none",
        optimizer=case.optimizer,
        weights="none",
        probes=Probes(quantities, steps=tuple(range(case.steps + 1))),
    )
    settings = OptimizerSettings(epsilon=case.epsilon)
    found: list[dict[Cell, float]] = [{} for _ in range(count)]
    # A few at a time: all of them would fill gigabytes at the largest width.
    at_once = max(1, 2**21 // width**2)
    for first in range(0, count, at_once):
        seeds = range(first, min(first + at_once, count))
        runs = [ipcore.RunConfig(case.trained, case.rate, seed, settings=settings) for seed in seeds]
        trainer = ipcore.Trainer(config, runs, dataset, engine=case.engine)
        for position, name, step, value in trainer.advance().points.rows():
            quantity, _, layer = name.partition("/")
            if layer:
                found[first + position][quantity, int(layer), step] = value
    return list(found)


def slope(case: Case, bank: Bank) -> float:
    """Slope of the first wrong size over all seeds and widths; 0 where nothing is wrong."""
    if case.cell is None:
        return 0.0
    logs = [np.mean([np.log(values[case.cell]) for values in seeds]) for seeds in bank.values()]
    return float(np.polyfit(np.log(list(bank)), logs, 1)[0])


@dataclass(slots=True)
class _Tally:
    """What many studies, or checks, of a case found."""

    verdicts: list[str] = field(default_factory=list)
    cells: list[Cell | None] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    def values(self, case: Case) -> dict[str, float]:
        """Parts of all."""
        count = len(self.verdicts)
        named = sum(cell == case.cell for cell in self.cells if cell is not None)
        return {
            "agrees": self.verdicts.count("agrees") / count,
            "disagrees": self.verdicts.count("disagrees") / count,
            "named": named / count,
            "runs": float(np.median(self.runs)),
        }


def _studies(case: Case, bank: Bank, spec: Spec) -> dict[str, float]:
    """Studies that add seeds until they decide (`ipcore.studies`)."""
    subject = Subject(case.name, case.intended, ACTIVATION, case.rate, trained=case.trained)
    question = CoordinateCheck(
        subjects=(subject,),
        setting=Setting(optimizer=case.optimizer, steps=case.steps),
        budget=Budget(runs=spec["study_budget"]),
        widths=tuple(spec["widths"]),
        max_width=max(bank),
    )
    found = _Tally()
    for number in range(spec["studies"]):
        draw = np.random.default_rng([number, 1])
        known: dict[Asked, Outcome] = {}
        while isinstance(decision := planner.plan_round(question, Results(known)), RunNext):
            for run in decision.runs():
                drawn = bank[run.width][draw.integers(len(bank[run.width]))]
                known[run] = Outcome({m: drawn[_cell(m)] for m in decision.metrics if _cell(m) in drawn})
        (answer,) = decision.answers
        wrong = [cell for cell in answer.cells if cell.verdict == "disagrees"]
        found.verdicts.append(str(answer.verdict))
        found.cells.append(_named(wrong[0].name, wrong[0].layer, wrong[0].step) if wrong else None)
        found.runs.append(len(known))
    return found.values(case)


def _cell(metric: Wanted) -> Cell:
    """Studies count isolated updates by the step whose rates they use, probes by the state after it."""
    isolated = metric.quantity.startswith("isolated")
    return metric.quantity, metric.layer, metric.step + isolated


def _named(name: str, layer: int, step: int) -> Cell:
    if not name.startswith("isolated"):
        return ("h", layer, step)
    return (BIAS if "bias" in name else "isolated_change", layer, step + 1)


def _checks(case: Case, bank: Bank, spec: Spec) -> dict[str, float]:
    """Reports (`iplab check`) on experiments with a fixed number of seeds."""
    steps = tuple(range(case.steps + 1))
    subject = analysis.Subject(case.name, case.name, DEPTH, ACTIVATION, case.rate, DEPTH + 1)
    seeds = range(spec["check_seeds"])
    runs = tuple(
        analysis.Run(width, seed, case.rate, diverged=False, final_test_loss=None)
        for width in spec["widths"]
        for seed in seeds
    )
    trained = analysis.Trained(
        widths=tuple(spec["widths"]),
        optimizer=case.optimizer,
        loss="cross_entropy",
        exponents=functools.partial(_intended, case),
        epsilon=case.epsilon if case.optimizer == "adam" else 0.0,
        probes=frozenset({"coordinates", "isolated_updates"}),
    )
    found = _Tally()
    for number in range(spec["checks"]):
        draw = np.random.default_rng([number, 2])
        sizes: dict[Cell, dict[tuple[int, int], float]] = {}
        for run in runs:
            for cell, value in bank[run.width][draw.integers(len(bank[run.width]))].items():
                if cell[0].startswith("isolated") or cell[0] == "gradient" or cell[2] == 0:
                    sizes.setdefault(cell, {})[run.width, run.seed] = value
        report = analysis.make_report(trained, analysis.Measured({subject: runs}, {subject: sizes}, steps))
        held = [
            check
            for check in report.checks
            if check.kind == "ISOLATED_UPDATE" or (check.kind == "COORDINATE" and check.step == 0)
        ]
        wrong = [check for check in held if check.verdict == "disagrees"]
        agree = all(check.verdict == "agrees" for check in held)
        found.verdicts.append("disagrees" if wrong else "agrees" if agree else "undecided")
        found.cells.append((wrong[0].quantity, wrong[0].layer, wrong[0].step) if wrong else None)
        found.runs.append(len(runs))
    return found.values(case)


def _intended(case: Case, _name: str, _hidden_layers: int) -> Parameterization:
    return case.intended


def _section(result: Result) -> Section:
    rows = {run.parameterization: run.values for run in result.runs}
    mistakes, right = [], []
    for case in cases():
        if case.name not in rows:
            continue
        values = rows[case.name]
        if case.cell is None:
            row = [case.name]
            for name in ("study", "check"):
                row += [f"{values[f'{name}_disagrees']:.2f}", f"{values[f'{name}_agrees']:.2f}"]
            right.append([*row, f"{values['study_runs']:.0f}"])
            continue
        row = [case.name, f"{_words(case.cell)}, {values['slope']:.2f}"]
        for name in ("study", "check"):
            row += [f"{values[f'{name}_disagrees']:.2f}", f"{values[f'{name}_named']:.2f}"]
        mistakes.append([*row, f"{values['study_runs']:.0f}"])
    spec = result.spec
    count, tried = len(mistakes), max(1, spec["studies"] * len(right))
    found = sum(float(row[2]) == 1.0 for row in mistakes)
    alarms = max((float(row[1]) for row in right), default=0.0)
    text = [
        f"Studies found {found} of {count} injected mistakes every time; the largest rate of false alarms on "
        f"right networks is {alarms:.2f}.",
        f"Networks on digits, {DEPTH} hidden layers, {ACTIVATION}, widths {spec['widths'][0]} .. "
        f"{spec['widths'][-1]}, one update (two of IP-LLR). One exponent, or one place of the code, is "
        "wrong. A *study* adds seeds until every number before the first wrong one is decided; a *check* "
        f"is a report on {spec['check_seeds']} seeds ({spec['check_seeds'] * len(spec['widths'])} runs). "
        "Both look at mean |h| at step 0, then at isolated updates ([analysis.md](analysis.md)). Rates are "
        f"those of {spec['studies']} studies and {spec['checks']} checks, whose seeds are drawn with "
        f"replacement from {', '.join(f'{n} at width {m}' for m, n in spec['bank'].items())}; a study may "
        f"use {spec['study_budget']} runs. *Named*: the first number that disagrees is that of the mistake.",
        table(
            [
                "mistake",
                "first wrong size, its slope",
                "study: found",
                "named",
                "check: found",
                "named",
                "runs",
            ],
            mistakes,
        ),
        "Right networks: a false alarm is a verdict *disagrees*; what is not shown to agree stays undecided. "
        f"{tried} studies without a false alarm bound its rate by {3 / tried:.1%} (95 %). Networks are "
        "trained once, so these rates do not tell of other initializations.",
        table(
            ["", "study: false alarms", "agrees", "check: false alarms", "agrees", "runs"],
            right,
        ),
    ]
    return Section("\n\n".join(text))


def _words(cell: Cell) -> str:
    quantity, layer, step = cell
    size = "f" if layer == DEPTH + 1 else f"h^{layer}"
    if quantity == "h":
        return f"{size} at step {step}"
    return f"{size}, update {step}" + (" of its bias" if quantity == BIAS else "")


STUDY: Final = Study(
    name="isolated-updates",
    title="Isolated updates find injected mistakes",
    spec=_SPEC,
    quick=_SPEC
    | {
        "bank": {"64": 8, "128": 8, "256": 8, "512": 4},
        "studies": 5,
        "checks": 5,
        "study_budget": 100,
    },
    section=_section,
    measure=_measure,
)
