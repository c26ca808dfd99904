"""Coordinate checks of networks that share no code with the engine: bugs are named, right ones pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import pytest

from ipcore import theory
from ipcore.studies import Budget, Cell, CoordinateCheck, Setting, Subject, Verdict
from reproduction.study_worlds import Ended, study
from tests.ipcore.studies.networks import NetworkWorld

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


@pytest.mark.parametrize("case", [case for case in CASES if case.found_at], ids=lambda case: case.name)
def test_every_bug_is_found_and_named(case):
    cell = blamed(check(case, 0))
    assert cell is not None
    assert cell.name == case.found_at


@pytest.mark.parametrize("case", [case for case in CASES if not case.found_at], ids=lambda case: case.name)
def test_right_networks_pass(case):
    answer = check(case, 0).decision.answers[0]
    assert answer.verdict is Verdict.AGREES, answer.sentence
