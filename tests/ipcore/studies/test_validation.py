"""Every wrong field of a question is named, with what is allowed."""

import pickle
from dataclasses import replace
from fractions import Fraction

import pytest

from ipcore import theory
from ipcore.errors import IpcoreError, QuestionError
from ipcore.studies import (
    ActivationGap,
    Budget,
    CoordinateCheck,
    Decided,
    Equivalence,
    Limit,
    PhaseBoundary,
    RateTransfer,
    RunCost,
    Setting,
    Stationarity,
    Subject,
    Verdict,
    check,
    minimum_cost,
    problems,
)
from reproduction.study_worlds import SizeWorld, study
from tests.ipcore.studies.worlds import slopes, subject, transfer

PLENTY = Budget(runs=10_000)


def ask(kind, *subjects, **more):
    return kind(subjects=subjects, budget=PLENTY, **more)


def test_good_questions_have_no_problems():
    for question in (slopes(), transfer(), ask(CoordinateCheck, subject("mup", 3))):
        check(question)


@pytest.mark.parametrize(
    ("question", "field", "said"),
    [
        (slopes(error_rate=0.5), "error_rate", "between 0 and 0.5, not 0.5"),
        (replace(slopes(), tolerance=-1.0), "tolerance", "positive number, not -1.0"),
        (replace(slopes(), tolerance=float("nan")), "tolerance", "positive number, not nan"),
        (replace(slopes(), budget=Budget()), "budget", "give runs, core_hours or wall_seconds"),
        (replace(slopes(), budget=Budget(runs=0)), "budget.runs", "positive number, not 0"),
        (replace(slopes(), cores=0.0), "cores", "positive number, not 0.0"),
        (slopes(widths=(64, 128)), "widths", "at least 3 widths of which each is twice the last"),
        (slopes(widths=(64, 128, 200)), "widths", r"not \[64, 128, 200\]"),
        (slopes(widths=(64, 128, 2.5)), "widths", "positive integers"),
        (slopes(max_width=512), "widths", r"width 1024 does not fit: .* 512; .* \[32, 64, 128, 256, 512\]"),
        (ask(Stationarity), "subjects", "give at least one"),
        (ask(Stationarity, subject(rate=0.0)), "subjects[0].rate", "positive number, not 0.0"),
        (ask(Stationarity, subject(), subject()), "subjects[1]", "same name as subjects"),
        (ask(Stationarity, subject("mup"), subject("ip")), "subjects[1]", "is the same network as subjects"),
        (ask(Stationarity, subject(), step=0), "step", r"in 1..100 \(setting.steps\), not 0"),
        (ask(CoordinateCheck, subject(), change_steps=(3, 1)), "change_steps", "ascending"),
        (ask(CoordinateCheck, subject(), change_steps=(101,)), "change_steps", r"1..100"),
        (ask(ActivationGap, subject()), "subjects", "give two or more to compare"),
        (ask(Equivalence, subject()), "subjects", "give two parameterizations"),
        (ask(Limit, subject(), within=0.0), "within", "positive distance, not 0.0"),
        (ask(Limit, subject(), limit=((0.0,), (1.0,))), "limit", "2 entries for 1 subjects"),
        (ask(PhaseBoundary, subject(), exponent="d"), "exponent", "one of a, b, c, not 'd'"),
        (ask(PhaseBoundary, subject(), layer=3), "layer", r"0..2 for mup"),
    ],
)
def test_what_is_wrong_is_named(question, field, said):
    with pytest.raises(QuestionError, match=said) as caught:
        check(question)
    assert field in [name for name, _ in caught.value.problems]
    assert isinstance(caught.value, IpcoreError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_all_problems_are_named_at_once():
    found = problems(replace(slopes(error_rate=2.0), tolerance=0.0, budget=Budget()))
    assert [problem.field for problem in found] == ["error_rate", "tolerance", "budget"]


def test_a_budget_below_the_first_interval_says_the_least():
    least = r"51 runs decide nothing: the first interval takes 52 .*at least 52"
    with pytest.raises(QuestionError, match=least):
        check(replace(slopes(), budget=Budget(runs=51)))
    check(replace(slopes(), budget=Budget(runs=52)))
    costly = replace(slopes(), run_cost=RunCost(100.0), setting=Setting(steps=1))
    least = minimum_cost(costly)
    assert least.core_seconds == pytest.approx(550)
    with pytest.raises(QuestionError, match=r"budget.core_hours: 0.1 core-hours decide nothing"):
        check(replace(costly, budget=Budget(core_hours=0.1)))
    with pytest.raises(QuestionError, match=r"budget.wall_seconds: 100 s decide nothing: .* 275 s"):
        check(replace(costly, cores=2.0, budget=Budget(wall_seconds=100)))


def test_a_question_that_theory_does_not_cover_is_measured():
    question = replace(slopes(), setting=Setting(not_covered="weight decay"))
    check(question)
    found = study(question, SizeWorld(1, 0.3, 0.05)).decision
    assert isinstance(found, Decided)
    assert found.verdict is Verdict.NO_PREDICTION
    assert "theory makes no prediction (theory does not cover it: weight decay)" in found.sentence
    assert "goes like m^0.3" in found.sentence


def test_unknown_names_are_measured_too():
    odd = Subject("mup", theory.preset("mup", 3), "mish", 0.1)
    check(RateTransfer(subjects=(odd,), budget=PLENTY))


def test_a_boundary_that_theory_lacks_must_be_given():
    question = PhaseBoundary(
        subjects=(subject("mup", 3),), budget=PLENTY, setting=Setting(not_covered="a model"), layer=2
    )
    with pytest.raises(QuestionError, match=r"boundary: .*give the value to compare it with"):
        check(question)
    check(replace(question, boundary=Fraction(1)))
