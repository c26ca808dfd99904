"""Error rates and runs to a decision of studies, in worlds whose truth is known."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ipcore import theory
from ipcore.studies import (
    Budget,
    CalibratedRates,
    Decided,
    Question,
    RateTransfer,
    Setting,
    Subject,
    Verdict,
)
from reproduction.markdown import table
from reproduction.study import Measured, Result, Section, Spec, Study
from reproduction.study_worlds import Ended, LossWorld, SizeWorld, World, study

_HOUR: Final = 3600
_BUDGET: Final = 400


@dataclass(frozen=True, slots=True)
class Row:
    """Studies of one truth.

    Attributes:
        name: In the table.
        question: What is asked.
        world: From the number of a study to what it measures.
        expected: What independent code found: share of "agrees", of "disagrees", mean runs, median cost.
        kind: "slopes", "drifts" or "many" (cells): how many studies there are is set for each.
    """

    name: str
    question: Question
    world: Callable[[int], World]
    expected: str
    kind: str


def _slopes(cells: int = 1) -> Question:
    """Slopes against 0 within 0.1: calibrated rates of so many layers."""
    subject = Subject("mup", theory.preset("mup", cells), "relu", 1.0)
    return CalibratedRates(subjects=(subject,), tolerance=0.1, budget=Budget(core_hours=_BUDGET / _HOUR))


def _drift(preset: str) -> Question:
    """Drift within 0.25: against 0 with IP-LLR, against -1 with SP under squared errors."""
    subject = Subject(preset, theory.preset(preset, 3), "relu", 1.0)
    setting = Setting(loss="mse", steps=100)
    return RateTransfer(subjects=(subject,), setting=setting, budget=Budget(core_hours=_BUDGET / _HOUR))


def _size(name: str, expected: str, exponent: float, spread: float, *, cells: int = 1, **more: Any) -> Row:
    kind = "slopes" if cells == 1 else "many"
    return Row(name, _slopes(cells), lambda key: SizeWorld(key, exponent, spread, **more), expected, kind)


def _loss(name: str, expected: str, drift: float, *, preset: str = "ip-llr", **more: Any) -> Row:
    return Row(name, _drift(preset), lambda key: LossWorld(key, drift, **more), expected, "drifts")


ROWS: Final = (
    _size("0 (.1)", "1/0, 82, 8", 0.0, 0.1),
    _size("0 (.2)", "1/0, 249, 26", 0.0, 0.2),
    _size(".1 = edge (.2)", ".02/.01, 898, 322", 0.1, 0.2),
    _size(".12 (.2)", "0/.02, 1269, 194", 0.12, 0.2),
    _size(".2 (.1)", "0/.99, 706, 58", 0.2, 0.1),
    _size(".5 (.2)", "0/1, 56, 5.5", 0.5, 0.2),
    _size("-.5 (.2)", "0/1, 56, 5.5", -0.5, 0.2),
    _size("0, kappa = 1 (.2)", ".98/0, 354..737, 32..294", 0.0, 0.2, kappa=1.0),
    _size("0, kappa = 2 (.2)", ".82/0, 354..737, 32..294", 0.0, 0.2, kappa=2.0),
    _size("0, kappa = -2 (.2)", ".53/0, 354..737, 32..294", 0.0, 0.2, kappa=-2.0),
    _size("0, kappa = 4, beyond B (.2)", ".05/0, 938, 288", 0.0, 0.2, kappa=4.0),
    _size("0, Student's t (.2)", "1/0, 216, 18", 0.0, 0.2, noise="student"),
    _size("edge, log of normals (.2)", ".06/0, 868, 319", 0.1, 0.2, noise="log-normal"),
    _size("16 cells at the edge (.2)", "any wrong .05", 0.1, 0.2, cells=16),
    _loss("drift 0", "1/0, 253, 84", 0.0),
    _loss("drift 0, guess 4 octaves low", "1/0, 253, 84", 0.0, best=4.0),
    _loss("drift 0, guess 4 octaves high", "1/0, 253, 84", 0.0, best=-4.0),
    _loss("drift -1 against -1, guess 3 high", "1/0, 256, 83", -1.0, preset="sp", best=-3.0),
    _loss("drift -1 against 0", "0/1, 158, 52", -1.0),
    _loss("drift -.4 against 0", "0/1, 318, 104", -0.4),
    _loss("drift .25 = edge", "at most .06/.05, 880, 290", 0.25),
    _loss("drift -.25 = edge", "at most .06/.05, 880, 290", -0.25),
    _loss("drift -.25, Student's t", "at most .06/.05, 880, 290", -0.25, noise="student"),
    _loss("drift -.25, near the cliff", "at most .06/.05, 880, 290", -0.25, cliff=0.2),
)


def verdicts(ended: Ended) -> tuple[bool, bool]:
    """Whether any cell of a study agrees, and whether any disagrees."""
    found = {cell.verdict for answer in ended.decision.answers for cell in answer.cells}
    return Verdict.AGREES in found, Verdict.DISAGREES in found


def measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    """Make the studies of every row; one `Measured` per row."""
    rows = [row for row in ROWS if not spec["rows"] or row.name in spec["rows"]]
    done, total = 0, sum(spec[row.kind] for row in rows)
    for row in rows:
        found: list[Ended] = []
        for key in range(spec[row.kind]):
            found.append(study(row.question, row.world(key)))
            done += 1
            progress(done / total)
        yield summed(row, found)


def summed(row: Row, found: list[Ended]) -> Measured:
    """The studies of a row as one."""
    agrees, disagrees = zip(*(verdicts(one) for one in found), strict=True)
    return Measured(
        parameterization=row.name,
        hidden_layers=0,
        width=0,
        activation="",
        rate=0.0,
        seed=0,
        values={
            "studies": float(len(found)),
            "agrees": sum(agrees) / len(found),
            "disagrees": sum(disagrees) / len(found),
            "decided": sum(isinstance(one.decision, Decided) for one in found) / len(found),
            "runs": statistics.mean(len(one.runs) for one in found),
            "cost": statistics.median(one.cost for one in found),
            "rounds": statistics.mean(one.rounds for one in found),
        },
    )


def section(result: Result) -> Section:
    """The table, beside what independent code found."""
    expected = {row.name: row.expected for row in ROWS}
    rows = []
    for run in result.runs:
        v = run.values
        rows.append(
            [
                run.parameterization,
                f"{v['studies']:.0f}",
                f"{v['agrees']:.2f} / {v['disagrees']:.2f}",
                f"{v['runs']:.0f}",
                f"{v['cost']:.3g}",
                f"{v['rounds']:.1f}",
                expected.get(run.parameterization, ""),
            ]
        )
    head = [
        *("truth less prediction", "studies", "agrees / disagrees", "runs", "median cost", "rounds"),
        "independent code",
    ]
    text = (
        "Studies ([study-rules.md](study-rules.md)) in worlds whose truth is known. In brackets: standard "
        "deviation of the slope of one seed over widths 128..1024. Tolerance 0.1 for slopes, 0.25 octaves "
        "for drifts; error rate 0.05; a run at width 1024 costs 1, the budget is 400. Agrees and disagrees "
        "are shares of studies in which any number does. The last column is what a simulation by independent "
        "code found with the same rules: agrees/disagrees, mean runs, median cost.\n\n"
    )
    return Section(text + table(head, rows))


STUDY_ERRORS: Final = Study(
    name="study-errors",
    title="Error rates of studies",
    spec={"slopes": 300, "drifts": 150, "many": 100, "rows": []},
    quick={"slopes": 20, "drifts": 10, "many": 2, "rows": []},
    section=section,
    measure=measure,
)
