"""Studies: from a question, a tolerance and a budget to an answer in one sentence.

    question = RateTransfer(
        subjects=(Subject("ip-llr", theory.preset("ip-llr", 3), "relu", rate=0.1),),
        setting=Setting(steps=200),
        budget=Budget(runs=400),
    )
    check(question)                  # QuestionError names every wrong field, a budget below one round too
    results = Results()
    while isinstance(decision := plan(question, results), RunNext):
        outcomes = {run: train(run, decision) for run in decision.runs()}
        results = Results({**results.runs, **outcomes})
    print(decision.sentence)         # Decided or OutOfBudget

`plan` is a pure function without state: its only input is `Results`, so a caller may be killed, forget its
answers, and call it again. A caller must:

- *Train what is asked.* A `Request` is a grid of rates and seeds at one width with the exponents to train;
  runs are independent and may be trained in any order and number at once. `RunNext.metrics` says what each
  run records, `Request.steps` how many updates are needed. Rates are keys: give them back exactly as they
  came.
- *Give back all runs that have ended*, whether the round is complete or not. Only complete looks count, and
  runs that are missing are asked for again, so a caller that asks while some runs are training must leave
  these out itself. A run that diverged is a result (`Outcome.diverged`), with what it recorded before; one
  that could not be trained is `Outcome.failed`, is not asked for again, and ends the study if it cannot do
  without it.
- *Report costs.* `Outcome.core_seconds` and `Results.elapsed_seconds` count against the budget, and estimates
  of further costs come from them.

`minimum_cost` is the lowest cost that could decide. `problems` has what is wrong with a question as a list.
Answers come as `Answer` per subject with `Cell` per number, in every decision, so that progress can be shown.
docs/study-rules.md has the statistics.

Imports `ipcore.analysis`, `ipcore.theory`, the catalogue, numpy and scipy; neither torch nor protobuf.
"""

from ipcore.studies.decision import (
    Answer,
    Cell,
    Cost,
    Decided,
    Decision,
    Interval,
    Need,
    OutOfBudget,
    Reason,
    Request,
    RunNext,
    Verdict,
)
from ipcore.studies.planner import minimum_cost, plan
from ipcore.studies.question import (
    KINDS,
    ActivationGap,
    CalibratedRates,
    CoordinateCheck,
    Equivalence,
    InfiniteWidth,
    Limit,
    PhaseBoundary,
    Question,
    RateTransfer,
    Stationarity,
)
from ipcore.studies.results import (
    CALIBRATED,
    FINAL_ACCURACY,
    FINAL_LIMIT_ERROR,
    FINAL_LOSS,
    FIRST_LOSS,
    ISOLATED,
    ISOLATED_BIAS,
    OUTPUTS,
    PAIRED,
    SKETCH,
    Metric,
    Outcome,
    Results,
    Run,
    Value,
)
from ipcore.studies.subjects import Budget, RunCost, Setting, Subject
from ipcore.studies.validation import Problem, check, problems

__all__ = [
    "CALIBRATED",
    "FINAL_ACCURACY",
    "FINAL_LIMIT_ERROR",
    "FINAL_LOSS",
    "FIRST_LOSS",
    "ISOLATED",
    "ISOLATED_BIAS",
    "KINDS",
    "OUTPUTS",
    "PAIRED",
    "SKETCH",
    "ActivationGap",
    "Answer",
    "Budget",
    "CalibratedRates",
    "Cell",
    "CoordinateCheck",
    "Cost",
    "Decided",
    "Decision",
    "Equivalence",
    "InfiniteWidth",
    "Interval",
    "Limit",
    "Metric",
    "Need",
    "OutOfBudget",
    "Outcome",
    "PhaseBoundary",
    "Problem",
    "Question",
    "RateTransfer",
    "Reason",
    "Request",
    "Results",
    "Run",
    "RunCost",
    "RunNext",
    "Setting",
    "Stationarity",
    "Subject",
    "Value",
    "Verdict",
    "check",
    "minimum_cost",
    "plan",
    "problems",
]
