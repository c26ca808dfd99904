"""Answers are one sentence: number, interval, tolerance, prediction, what was spent."""

import re
from dataclasses import replace

import pytest

from ipcore.studies import Budget, Cell, Decided, Interval, OutOfBudget, Verdict
from ipcore.studies.sentences import _of_cells
from reproduction.study_worlds import LossWorld, SizeWorld, study
from tests.ipcore.studies.worlds import slopes, transfer

NUMBER = r"-?\d+\.\d\d"
INTERVAL = rf"\(95 %: {NUMBER} \.\. {NUMBER}\)"


def test_a_rate_that_transfers():
    found = study(transfer(), LossWorld(0)).decision
    assert isinstance(found, Decided)
    assert re.fullmatch(
        rf"The best rate of ip-llr \(relu, 3 hidden layers\) moves by {NUMBER} octaves per doubling of the "
        rf"width {INTERVAL}, within the tolerance 0\.25 of the predicted 0: it transfers\. \d+ runs, "
        r"\d+ core-seconds\.",
        found.sentence,
    )


@pytest.mark.parametrize(
    ("preset", "drift", "said"),
    [
        ("ip-llr", -1.0, "outside of the tolerance 0.25 around the predicted 0: it does not transfer."),
        ("sp", -1.0, "within the tolerance 0.25 of the predicted -1: it does not transfer."),
    ],
)
def test_rates_that_do_not_transfer(preset, drift, said):
    assert said in study(transfer(preset), LossWorld(1, drift)).decision.sentence


def test_an_answer_that_was_not_found_says_what_it_takes():
    found = study(slopes(budget=30.0), SizeWorld(1, 0.12, 0.2)).decision
    assert isinstance(found, OutOfBudget)
    assert re.search(
        rf"goes like m\^{NUMBER} {INTERVAL}, undecided against the predicted 0 with the tolerance 0\.1\. "
        r"\d+ runs, \d+ core-seconds\. Undecided: the budget of 0\.00833 core-hours does not pay for the",
        found.sentence,
    )
    assert found.sentence.endswith("would do now.")


def test_several_numbers_are_counted_and_the_furthest_is_named():
    found = study(slopes(3), SizeWorld(1, 0.0, 0.05)).decision
    assert found.sentence.startswith(
        "The calibrated rates of mup (relu, 3 hidden layers): of 3 numbers 3 agree with theory; the "
    )


def test_one_of_several_numbers_is_counted_as_one():
    cells = [
        Cell(
            "mup", f"h^{layer}", verdict, Interval(value, value - half, value + half), 0, 0, 0.1, (8,), 3, ""
        )
        for layer, (value, half, verdict) in enumerate(
            [(0.0, 0.05, Verdict.AGREES), (0.12, 0.1, Verdict.UNDECIDED), (0.01, 0.05, Verdict.AGREES)], 1
        )
    ]
    said = _of_cells("coordinate-check", "mup", Verdict.UNDECIDED, cells, "95 %")
    assert said.startswith(
        "The coordinate check of mup: of 3 numbers 2 agree with theory, 1 is undecided; the furthest off: "
    )


def test_the_level_is_that_of_the_question():
    found = study(slopes(error_rate=0.01), SizeWorld(1, 0.0, 0.02)).decision
    assert "(99 %: " in found.sentence


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (20, "is not measured: the best rate is not bracketed yet. 14 runs"),
        (60, "is not measured: the best rate lies near 1 at width 128, 1 at width 256, 1 at width 512, 1 at"),
    ],
)
def test_a_budget_that_ends_before_the_first_look_leaves_what_the_bracket_found(runs, said):
    question = replace(transfer(), budget=Budget(runs=runs))
    ended = study(question, LossWorld(0, cliff=5.0, noise="none"))
    assert said in ended.decision.sentence
