"""The planner: a pure function from a question and its results to the next decision."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
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
from ipcore.studies.results import Outcome, Results, Run
from ipcore.studies.sentences import answer_sentence, need_text
from ipcore.words import counted


def plan(question: Question, results: Results) -> Decision:
    """Decide, or name the next runs, or say what would decide beyond the budget.

    Every call goes through all rounds from the first, and each round sees only the results of the rounds
    before it. So the runs that a round asks for do not depend on how many of them have ended, and an
    interrupted study ends like one without interruption.

    Args:
        question: A valid one (`ipcore.studies.check`).
        results: All runs that have ended. A round may be incomplete: the runs of it that have not ended are
            asked for again.
    """
    lines = lines_of(question)
    done: dict[Run, Outcome] = {}
    while True:
        decision = _round(question, lines, Results(done, results.elapsed_seconds), results.runs)
        if not isinstance(decision, RunNext):
            return decision
        wanted = list(decision.runs())
        if any(run not in results.runs for run in wanted):
            ledger = ledger_of(question, results)
            missing = ledger.missing(decision.requests)
            return replace(decision, requests=missing, core_seconds=ledger.cost(missing))
        done |= {run: results.runs[run] for run in wanted}


def plan_round(question: Question, results: Results) -> Decision:
    """As `plan`, faster, for callers that have all runs of every round and no others."""
    return _round(question, lines_of(question), results, results.runs)


def _round(
    question: Question, lines: Sequence[Line], results: Results, known: Mapping[Run, Outcome]
) -> Decision:
    """The decision from the results of whole rounds; `known` holds runs of the next round that have ended."""
    ledger = ledger_of(question, results)
    cells = sum(line.cell_count for line in lines)
    states = [line.state(ledger, cells) for line in lines]
    answers = _answers(question, results, lines, states)
    if all(answer.verdict is not Verdict.UNDECIDED for answer in answers):
        return Decided(_overall(answers), _joined(answers), answers)
    steps, too_dear = _affordable(question, ledger, states, known)
    if steps:
        requests = _disjoint(request for step in steps for request in step.requests)
        metrics = tuple(dict.fromkeys(metric for line in lines for metric in line.metrics))
        why = "; ".join(dict.fromkeys(step.why for step in steps))
        return RunNext(requests, metrics, why, answers, ledger.cost(requests))
    return _ended(question, states, answers, too_dear)


def minimum_cost(question: Question) -> Cost:
    """The lowest cost that could decide: the first look of every line.

    A budget below it can decide nothing, so it is refused at submission.
    """
    ledger = ledger_of(question, Results())
    requests = _disjoint(request for line in lines_of(question) for request in line.least())
    return _cost(question, ledger, requests)


def ledger_of(question: Question, results: Results) -> Ledger:
    """Results with the known costs."""
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
    """The verdict of an answer with these cells (`Answer`)."""
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
    question: Question, ledger: Ledger, states: Sequence[State], known: Mapping[Run, Outcome]
) -> tuple[list[Step], Step | None]:
    """The best step of every line that can still be paid, and the cheapest that cannot."""
    taken: list[Step] = []
    too_dear: Step | None = None
    for state in sorted(states, key=lambda state: state.steps[0].runs if state.steps else 0):
        for step in state.steps:
            requests = _disjoint(request for one in (*taken, step) for request in one.requests)
            if _fits(question, ledger, requests, known):
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


def _fits(
    question: Question, ledger: Ledger, requests: Sequence[Request], known: Mapping[Run, Outcome]
) -> bool:
    """Whether runs can be paid; wall time only for those that have not ended."""
    budget, cost, results = question.budget, _cost(question, ledger, requests), ledger.results
    if budget.runs is not None and len(results.runs) + cost.runs > budget.runs:
        return False
    core_seconds = results.core_seconds + (cost.core_seconds or 0.0)
    if budget.core_hours is not None and core_seconds > 3600 * budget.core_hours:
        return False
    ended = sum(run in known for request in requests for run in request.runs())
    if budget.wall_seconds is None or ended == cost.runs:
        return True
    wall = (cost.wall_seconds or 0.0) * (1 - ended / cost.runs)
    return results.elapsed_seconds + wall <= budget.wall_seconds


def _disjoint(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Requests without duplicates: several lines may want the same run."""
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
    sentence = _joined(answers)
    if too_dear is not None:
        reason = Reason.BUDGET
        sentence += (
            f" Undecided: the budget of {question.budget} does not pay for the next round "
            f"({counted(too_dear.runs, 'run')})."
        )
    else:
        reason = next(state.reason for state in states if state.reason is not None)
    needed = need_text(open_cells)
    return OutOfBudget(reason, f"{sentence} {needed}." if needed else sentence, answers)
