"""The planner: ends, asks for nothing twice, forgets nothing, and stays within the budget."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.studies import (
    FINAL_LOSS,
    FIRST_LOSS,
    Budget,
    Decided,
    Outcome,
    OutOfBudget,
    Reason,
    Results,
    RunCost,
    RunNext,
    Verdict,
    minimum_cost,
    plan,
)
from ipcore.studies.question import ActivationGap
from reproduction.study_worlds import LossWorld, SizeWorld, study
from tests.ipcore.studies.worlds import slopes, subject, transfer

WIDTHS = (128, 256, 512, 1024)
SEARCH = settings(max_examples=15, deadline=None)


@SEARCH
@given(st.floats(-0.6, 0.6), st.floats(0.01, 0.6), st.integers(0, 2**20), st.integers(1, 3))
def test_slopes_always_end_and_never_repeat_a_run(exponent, spread, key, cells):
    question = slopes(cells, budget=100.0)
    ended = study(question, SizeWorld(key, exponent, spread))  # raises where a run is wanted twice
    assert isinstance(ended.decision, Decided | OutOfBudget)
    assert ended.cost <= 100.0
    for answer in ended.decision.answers:
        assert str(len(ended.runs)) in answer.sentence


@SEARCH
@given(
    st.floats(-1.2, 1.2), st.floats(-6, 6), st.floats(0.1, 1.5), st.integers(0, 2**20), st.integers(100, 600)
)
def test_drifts_always_end_and_never_repeat_a_run(drift, best, cliff, key, runs):
    question = replace(transfer(), budget=Budget(runs=runs))
    ended = study(question, LossWorld(key, drift, best, cliff))
    assert isinstance(ended.decision, Decided | OutOfBudget)
    assert len(ended.runs) <= runs


@pytest.mark.parametrize(
    ("question", "world"),
    [(slopes(2), SizeWorld(3, 0.0, 0.2)), (transfer(), LossWorld(3, 0.0, 2.0))],
    ids=["slopes", "drift"],
)
def test_interrupted_rounds_end_with_the_same_runs_and_verdict(question, world):
    """Results arrive in any order and number; a caller that forgets everything asks again."""
    whole = study(question, world)
    shuffled = random.Random(1)
    runs = {}
    while isinstance(decision := plan(question, Results(runs)), RunNext):
        wanted = list(decision.runs())
        assert runs.keys().isdisjoint(wanted)
        for run in shuffled.sample(wanted, max(1, len(wanted) // 3)):
            runs[run] = world(run, decision.metrics)
    assert runs == whole.runs
    assert decision == whole.decision


def test_the_same_results_give_the_same_answer_whatever_their_order():
    ended = study(slopes(), SizeWorld(1, 0.0, 0.2))
    backwards = dict(reversed(ended.runs.items()))
    assert plan(slopes(), Results(backwards)) == ended.decision


def test_the_budget_stops_before_the_round_that_would_exceed_it():
    question = slopes(budget=20.0)
    ended = study(question, SizeWorld(1, 0.1, 0.2))
    found = ended.decision
    assert isinstance(found, OutOfBudget)
    assert found.reason is Reason.BUDGET
    assert ended.cost <= 20.0
    (cell,) = found.answers[0].cells
    assert cell.verdict is Verdict.UNDECIDED
    assert cell.need is not None
    assert cell.need.tolerance > 0.1
    assert "does not pay for the next round" in found.sentence
    assert f"a tolerance of {cell.need.tolerance:.2f} would do now" in found.sentence


def test_a_budget_raised_later_goes_on_where_it_stopped():
    world = SizeWorld(5, 0.0, 0.2)
    small = study(slopes(budget=9.0), world)
    large = study(slopes(), world)
    assert small.runs.items() <= large.runs.items()


def test_wall_time_counts_what_has_passed():
    question = replace(slopes(), budget=Budget(wall_seconds=10.0))
    first = plan(question, Results())
    runs = {run: SizeWorld(1, 0.1, 0.2)(run, first.metrics) for run in first.runs()}
    late = plan(question, Results(runs, elapsed_seconds=9.99))
    assert isinstance(late, OutOfBudget)
    assert late.reason is Reason.BUDGET


def test_a_slow_start_of_narrow_networks_does_not_make_wide_ones_dear():
    """A run at width 128 took 2.4 core-seconds, mostly a worker's start; one at 1024 trains for 1.5."""
    question = replace(
        transfer(), budget=Budget(wall_seconds=600.0), run_cost=RunCost(1.5), cores=2.0, widths=WIDTHS
    )
    world, runs, asked = LossWorld(0, cliff=5.0, noise="none"), {}, set()
    while isinstance(decision := plan(question, Results(runs, elapsed_seconds=24.0)), RunNext):
        wanted = list(decision.runs())
        if asked := {run.width for run in wanted} - {128}:
            break
        runs |= {run: replace(world(run, decision.metrics), core_seconds=2.4) for run in wanted}
    assert asked == {256, 512, 1024}
    # Six runs at each: 2.4 core-seconds, and what a run of 1.5 at 1024 takes beyond one at 128.
    training = sum(1.5 * ((width / 1024) ** 2 - (128 / 1024) ** 2) for width in asked)
    assert decision.core_seconds == pytest.approx(6 * (3 * 2.4 + training))


def test_runs_that_all_diverge_are_said_so():
    def diverges(run, metrics):
        return Outcome({FIRST_LOSS: 1.0}, diverged=True, core_seconds=0.1)

    found = study(slopes(), diverges).decision
    assert isinstance(found, OutOfBudget)
    assert found.reason is Reason.DIVERGED
    assert "32 of 32 runs of mup (relu, 1 hidden layer) diverge at width 64 and base rate 1" in found.sentence
    assert "lower the rate" in found.sentence
    no_rate = study(transfer(budget=4000), diverges).decision
    assert isinstance(no_rate, OutOfBudget)
    assert "no base rate within 20 octaves of 1 trains best at width 128" in no_rate.sentence


@pytest.mark.parametrize("question", [slopes(), transfer()], ids=["slopes", "drift"])
def test_a_run_that_failed_is_not_asked_for_again(question):
    first = next(iter(plan(question, Results()).runs()))
    runs = {first: Outcome(failed="out of disk")}
    while isinstance(decision := plan(question, Results(runs)), RunNext):
        wanted = list(decision.runs())
        assert first not in wanted
        runs |= {run: Outcome({FINAL_LOSS: 1.0}) for run in wanted}
    assert isinstance(decision, OutOfBudget)
    assert decision.reason is Reason.FAILED
    assert "failed: out of disk" in decision.sentence


def test_three_percent_of_diverged_runs_are_let_pass_and_ten_are_not():
    def world(every):
        def train(run, metrics):
            if run.width == 64 and run.seed % every == 3:
                return Outcome(diverged=True, core_seconds=0.1)
            return SizeWorld(1, 0.0, 0.02)(run, metrics)

        return train

    assert isinstance(study(slopes(), world(32)).decision, Decided)
    many = study(slopes(), world(10)).decision
    assert isinstance(many, OutOfBudget)
    assert many.reason is Reason.DIVERGED


def test_minimum_cost_is_the_first_round_of_slopes():
    question = slopes()
    least = minimum_cost(question)
    assert least.by_width == ((64, 32), (128, 8), (256, 4), (512, 4), (1024, 4))
    assert least.runs == 52 == sum(1 for _ in plan(question, Results()).runs())


def test_minimum_cost_of_a_drift_is_enough_if_nothing_moves():
    """A bracket of 7 rates and 2 seeds, 2 more seeds of 5 rates, 4 widths."""
    question = transfer()
    least = minimum_cost(question)
    assert least.runs == 4 * (7 * 2 + 5 * 2)
    ended = study(question, LossWorld(0, cliff=5.0, noise="none"))
    assert isinstance(ended.decision, Decided)
    assert len(ended.runs) == least.runs


def test_all_widths_but_the_smallest_are_bracketed_at_once_from_where_theory_has_the_best_rate():
    """SP under squared errors: from the best rate 1 at width 128 to 1/8 at 1024."""
    question, runs, asked = transfer("sp"), {}, []
    world = LossWorld(0, drift=-1.0, cliff=5.0, noise="none")
    while isinstance(decision := plan(question, Results(runs)), RunNext):
        wanted = list(decision.runs())
        runs |= {run: world(run, decision.metrics) for run in wanted}
        asked.append({width: sorted({run.rate for run in wanted if run.width == width}) for width in WIDTHS})
    first, second, third = asked[:3]
    assert first == {128: [1 / 4, 1, 4], 256: [], 512: [], 1024: []}
    assert not any(second[width] for width in WIDTHS[1:])
    assert third == {128: [], 256: [1 / 8, 1 / 2, 2], 512: [1 / 16, 1 / 4, 1], 1024: [1 / 32, 1 / 8, 1 / 2]}
    # Two rounds for the smallest width, two for all others, then the first look.
    assert len(asked) == 5


def test_two_subjects_have_answers_of_their_own_and_share_the_error_rate():
    question = replace(slopes(), subjects=(subject(), subject("ip-llr")))

    def world(run, metrics):
        exponent = 0.5 if run.subject.startswith("ip-llr") else 0.0
        return SizeWorld(1, exponent, 0.05)(run, metrics)

    found = study(question, world).decision
    assert isinstance(found, Decided)
    assert [answer.verdict for answer in found.answers] == [Verdict.AGREES, Verdict.DISAGREES]
    assert found.verdict is Verdict.DISAGREES


def test_widths_move_only_as_far_as_memory_allows():
    ended = study(slopes(max_width=2048), SizeWorld(2, 0.11, 0.2))
    assert max(run.width for run in ended.runs) <= 2048


def test_widths_do_not_move_beyond_one_that_was_asked_for():
    """The difference of accuracies at width 512 stays open; the third window of widths still holds it."""
    question = ActivationGap(
        subjects=(subject(), subject(activation="tanh")),
        widths=(128, 256, 512),
        alignment_step=0,
        tolerance=1e-3,
        budget=Budget(runs=1_000_000),
    )

    def world(run, metrics):
        rng = np.random.default_rng([run.width, run.seed, run.subject.count("tanh")])
        return Outcome({metric: float(rng.normal()) for metric in metrics}, core_seconds=1e-3)

    ended = study(question, world)
    assert isinstance(ended.decision, OutOfBudget)
    assert {run.width for run in ended.runs} == {128, 256, 512, 1024, 2048}
