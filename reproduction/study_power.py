"""Which bugs a coordinate check as a study finds: twelve, in networks that are right otherwise."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from ipcore import theory
from ipcore.studies import Budget, Cell, CoordinateCheck, Setting, Subject, Verdict
from reproduction.markdown import table
from reproduction.study import Measured, Result, Section, Spec, Study
from reproduction.study_networks import NetworkWorld
from reproduction.study_worlds import Ended, study

_HALF: Final = Fraction(1, 2)
_WIDTHS: Final = (64, 128, 256, 512)

MUP: Final = theory.custom(3, a=["0", "0", "0", "1/2"], b=["0", "1/2", "1/2", "1/2"], c=["-1", "0", "0", "0"])
_BIASES: Final = theory.Biases(
    (Fraction(0),) * 4,
    (Fraction(0), Fraction(0), Fraction(0), _HALF),
    (theory.RatePhase(0, (Fraction(-1), Fraction(-1), Fraction(-1), Fraction(0))),),
)
BIASED: Final = replace(MUP, biases=_BIASES)
ADAM: Final = theory.preset("mup", 3, optimizer="adam")
LLR: Final = theory.preset("ip-llr", 3)


@dataclass(frozen=True, slots=True)
class Case:
    """A network as it was meant and as it is.

    Attributes:
        name: What is wrong, or "" of a right one.
        meant: What theory is asked about.
        trained: Exponents of what is trained.
        found_at: The number that must be named, as the beginning of its name; "" where nothing is wrong.
        optimizer: "sgd" or "adam".
        world: Other mistakes, as for `NetworkWorld`.
    """

    name: str
    meant: theory.Parameterization
    trained: theory.Parameterization
    found_at: str = ""
    optimizer: str = "sgd"
    world: Mapping[str, Any] | None = None


def moved(p: theory.Parameterization, row: str, *layers: int, by: Fraction | int) -> theory.Parameterization:
    """With an exponent of some layers moved."""

    def shifted(entries: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple(e + by if i in layers else e for i, e in enumerate(entries, start=1))

    if row == "a":
        return replace(p, a=shifted(p.a))
    if row == "b":
        return replace(p, b=shifted(p.b))
    return replace(p, phases=tuple(replace(phase, c=shifted(phase.c)) for phase in p.phases))


def _update(layer: int) -> str:
    return f"isolated update of layer {layer}"


_SLOW_BIASES: Final = replace(
    BIASED,
    biases=replace(_BIASES, phases=(theory.RatePhase(0, tuple(c + 1 for c in _BIASES.phases[0].c)),)),
)

CASES: Final = (
    Case("1: a_2 + 1/2", MUP, moved(MUP, "a", 2, by=_HALF), "h^2 at step 0"),
    Case("2: b_2 - 1/2", MUP, moved(MUP, "b", 2, by=-_HALF), "h^2 at step 0"),
    Case("3: b_4 - 1/2", MUP, moved(MUP, "b", 4, by=-_HALF), "f at step 0"),
    Case("4: c_4 - 1", MUP, moved(MUP, "c", 4, by=-1), _update(4)),
    Case("5: c_1 + 1", MUP, moved(MUP, "c", 1, by=1), _update(1)),
    Case("6: c_2 + 1", MUP, moved(MUP, "c", 2, by=1), _update(2)),
    Case("7: biases, c + 1", BIASED, _SLOW_BIASES, "isolated update of the biases of layer 1"),
    Case("8: a_4 - 1/2 in the backward pass", MUP, MUP, _update(1), world={"backward": {4: 0.5}}),
    Case("9: decay .05 inside the gradient", MUP, MUP, _update(1), world={"decay": 0.05}),
    Case("10: Adam, epsilon .01, d = 0", ADAM, ADAM, _update(1), "adam", {"epsilon": 0.01}),
    Case("11: Adam, c_2 and c_3 - 1/2", ADAM, moved(ADAM, "c", 2, 3, by=-_HALF), _update(2), "adam"),
    Case(
        "12: IP-LLR, c(1) = c(0)",
        LLR,
        replace(LLR, phases=(LLR.phases[0],)),
        f"{_update(1)} by the rates of step 1",
    ),
    Case("right: muP", MUP, MUP),
    Case("right: muP with biases", BIASED, BIASED),
    Case("right: muP, Adam", ADAM, ADAM, optimizer="adam"),
    Case("right: IP-LLR", LLR, LLR),
)


def check(case: Case, key: int) -> Ended:
    """Make one study; a run of one update at width 1024 costs 1."""
    subject = Subject(case.name, case.meant, "tanh", 0.1, trained=case.trained)
    question = CoordinateCheck(
        subjects=(subject,),
        setting=Setting(optimizer=case.optimizer),
        widths=_WIDTHS,
        budget=Budget(runs=5_000),
    )
    world = NetworkWorld(key, case.trained, case.optimizer, **(case.world or {}))
    return study(question, world)


def blamed(ended: Ended) -> Cell | None:
    """The number that a study names as wrong."""
    answer = ended.decision.answers[0]
    if answer.verdict is not Verdict.DISAGREES:
        return None
    return next(cell for cell in answer.cells if cell.verdict is Verdict.DISAGREES)


def measure(spec: Spec, progress: Callable[[float], None]) -> Iterator[Measured]:
    """Make the studies of every case; one `Measured` per case."""
    for i, case in enumerate(CASES):
        count = spec["wrong"] if case.found_at else spec["right"]
        found = [check(case, key) for key in range(count)]
        cells = [blamed(one) for one in found]
        named = [cell is not None and cell.name == case.found_at for cell in cells]
        agrees = [one.decision.answers[0].verdict is Verdict.AGREES for one in found]
        values = {
            "studies": float(count),
            "detected": sum(cell is not None for cell in cells) / count,
            "named": sum(named) / count,
            "agrees": sum(agrees) / count,
            "runs": statistics.mean(len(one.runs) for one in found),
        }
        yield Measured(case.name, 3, 0, "tanh", 0.0, 0, values)
        progress((i + 1) / len(CASES))


def section(result: Result) -> Section:
    """The table of bugs, and of false alarms."""
    meant = {case.name: case.found_at for case in CASES}
    rows = [
        [
            run.parameterization,
            f"{run.values['studies']:.0f}",
            f"{run.values['detected']:.2f}",
            f"{run.values['named']:.2f}" if meant.get(run.parameterization) else "-",
            f"{run.values['agrees']:.2f}",
            f"{run.values['runs']:.0f}",
            meant.get(run.parameterization) or "-",
        ]
        for run in result.runs
    ]
    head = ["network", "studies", "disagrees", "number named", "agrees", "runs", "number that is wrong"]
    text = (
        "Coordinate checks ([studies.md](studies.md)) of multilayer perceptrons on digits that are written "
        "in numpy, apart from the engine: three hidden layers, tanh, widths from 64 to 512, runs of one "
        "update. Twelve have a bug, four have none; every study has networks and batches of its own. The "
        "study stops once every number before the first that disagrees is decided.\n\n"
    )
    return Section(text + table(head, rows))


STUDY_POWER: Final = Study(
    name="study-power",
    title="Bugs that a coordinate check finds",
    spec={"wrong": 30, "right": 50, "networks": 1},
    quick={"wrong": 2, "right": 2, "networks": 1},
    section=section,
    measure=measure,
)
