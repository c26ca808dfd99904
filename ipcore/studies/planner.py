"""The planner: a pure function from a question and what has been measured to what to do next."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ipcore.studies.decision import (
    Answer,
    Cell,
    Cost,
    Decided,
    Decision,
    OutOfBudget,
    Reason,
    Request,
    RunNext,
    Verdict,
)
from ipcore.studies.kinds import lines_of
from ipcore.studies.line import Ledger, Line, State, Step
from ipcore.studies.question import Question
from ipcore.studies.results import Results, Run
from ipcore.studies.sentences import answer_sentence, need_text


def plan(question: Question, results: Results) -> Decision:
    """Decide, or say which runs are needed next, or what it would take.

    Args:
        question: A valid one (`ipcore.studies.check`).
        results: All runs that have ended. Rounds that are not complete do no harm: the same runs are asked
            for again, less those that have ended.
    """
    lines = lines_of(question)
    ledger = ledger_of(question, results)
    cells = sum(line.cell_count for line in lines)
    states = [line.state(ledger, cells) for line in lines]
    answers = _answers(question, results, lines, states)
    if all(answer.verdict is not Verdict.UNDECIDED for answer in answers):
        return Decided(_overall(answers), _joined(answers), answers)
    steps, too_dear = _affordable(question, ledger, states)
    if steps:
        requests = _disjoint(request for step in steps for request in step.requests)
        metrics = tuple(dict.fromkeys(metric for line in lines for metric in line.metrics))
        why = "; ".join(dict.fromkeys(step.why for step in steps))
        return RunNext(requests, metrics, why, answers, ledger.cost(requests))
    return _ended(question, states, answers, too_dear)


def minimum_cost(question: Question) -> Cost:
    """The least that could decide: the first look of every line.

    A budget below it can decide nothing, so it is refused at submission.
    """
    ledger = ledger_of(question, Results())
    requests = _disjoint(request for line in lines_of(question) for request in line.least())
    return _cost(question, ledger, requests)


def ledger_of(question: Question, results: Results) -> Ledger:
    """Results with what is known of costs."""
    return Ledger(results, question.run_cost, question.error_rate, question.setting.steps)


def _answers(
    question: Question, results: Results, lines: Sequence[Line], states: Sequence[State]
) -> tuple[Answer, ...]:
    found = []
    for line, state in zip(lines, states, strict=True):
        verdict = verdict_of(state.cells)
        sentence = answer_sentence(question, line.subject, verdict, state.cells, results, state.why)
        found.append(Answer(line.subject, verdict, sentence, state.cells))
    return tuple(found)


def verdict_of(cells: Sequence[Cell]) -> Verdict:
    """Disagrees if a cell does and all before it are decided; agrees if all do; else open."""
    before = itertools.takewhile(lambda cell: cell.decided, cells)
    if any(cell.verdict is Verdict.DISAGREES for cell in before):
        return Verdict.DISAGREES
    verdicts = {cell.verdict for cell in cells}
    if Verdict.UNDECIDED in verdicts:
        return Verdict.UNDECIDED
    return Verdict.AGREES if Verdict.AGREES in verdicts else Verdict.NO_PREDICTION


def _overall(answers: Iterable[Answer]) -> Verdict:
    verdicts = {answer.verdict for answer in answers}
    for verdict in (Verdict.DISAGREES, Verdict.UNDECIDED, Verdict.NO_PREDICTION):
        if verdict in verdicts:
            return verdict
    return Verdict.AGREES


def _joined(answers: Iterable[Answer]) -> str:
    return " ".join(answer.sentence for answer in answers)


def _affordable(
    question: Question, ledger: Ledger, states: Sequence[State]
) -> tuple[list[Step], Step | None]:
    """The best step of every line that can still be paid, and the cheapest that cannot."""
    taken: list[Step] = []
    too_dear: Step | None = None
    for state in sorted(states, key=lambda state: state.steps[0].runs if state.steps else 0):
        for step in state.steps:
            requests = _disjoint(request for one in (*taken, step) for request in one.requests)
            if _fits(question, ledger, requests):
                taken.append(step)
                break
            if too_dear is None or step.runs < too_dear.runs:
                too_dear = step
    return taken, too_dear


def _cost(question: Question, ledger: Ledger, requests: Sequence[Request]) -> Cost:
    runs = sum(len(request.rates) * len(request.seeds) for request in requests)
    core_seconds = ledger.cost(requests)
    by_width: dict[int, int] = {}
    for request in requests:
        count = len(request.rates) * len(request.seeds)
        by_width[request.width] = by_width.get(request.width, 0) + count
    wall = None if core_seconds is None else core_seconds / question.cores
    return Cost(runs, core_seconds, wall, tuple(sorted(by_width.items())))


def _fits(question: Question, ledger: Ledger, requests: Sequence[Request]) -> bool:
    budget, cost = question.budget, _cost(question, ledger, requests)
    results = ledger.results
    if budget.runs is not None and len(results.runs) + cost.runs > budget.runs:
        return False
    core_seconds, wall = cost.core_seconds or 0.0, cost.wall_seconds or 0.0
    if budget.core_hours is not None and results.core_seconds + core_seconds > 3600 * budget.core_hours:
        return False
    return budget.wall_seconds is None or results.elapsed_seconds + wall <= budget.wall_seconds


def _disjoint(requests: Iterable[Request]) -> tuple[Request, ...]:
    """No run twice, though several lines may want it."""
    seen: set[Run] = set()
    found = []
    for request in requests:
        for rate in request.rates:
            runs = [Run(request.subject, request.width, rate, seed) for seed in request.seeds]
            seeds = tuple(run.seed for run in runs if run not in seen)
            seen.update(runs)
            if seeds:
                found.append(replace(request, rates=(rate,), seeds=seeds))
    return merged(found)


def merged(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Requests that differ in the rate alone, as one."""
    rates: dict[Request, list[float]] = {}
    for request in requests:
        rates.setdefault(replace(request, rates=()), []).extend(request.rates)
    return tuple(replace(request, rates=tuple(own)) for request, own in rates.items())


def _ended(
    question: Question, states: Sequence[State], answers: tuple[Answer, ...], too_dear: Step | None
) -> OutOfBudget:
    open_cells = [cell for answer in answers for cell in answer.cells if not cell.decided]
    if too_dear is not None:
        reason, why = Reason.BUDGET, f"the budget of {question.budget} does not pay for the next round"
        why += f" ({too_dear.runs} runs)"
    else:
        reason, why = next((state.reason, state.why) for state in states if state.reason is not None)
    needed = need_text(open_cells)
    sentence = f"{_joined(answers)} Undecided: {why}"
    return OutOfBudget(reason, f"{sentence}; {needed}." if needed else f"{sentence}.", answers)
