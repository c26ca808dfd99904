"""Coordinate checks of networks that share no code with the engine: bugs are named, right ones pass."""

import pytest

from ipcore.studies import Verdict
from reproduction.study_power import CASES, blamed, check


@pytest.mark.parametrize("case", [case for case in CASES if case.found_at], ids=lambda case: case.name)
def test_every_bug_is_found_and_named(case):
    cell = blamed(check(case, 0))
    assert cell is not None
    assert cell.name == case.found_at


@pytest.mark.parametrize("case", [case for case in CASES if not case.found_at], ids=lambda case: case.name)
def test_right_networks_pass(case):
    answer = check(case, 0).decision.answers[0]
    assert answer.verdict is Verdict.AGREES, answer.sentence
