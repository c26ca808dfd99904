"""Drives studies in steps. Each step is a transaction after which any other driver can continue.

    no open round      ask the planner; record the next round or the answer
    round recorded     take its actions (creations and extensions with fixed ids, which may be repeated)
    actions taken      wait until the experiments have ended; then ask the planner again
    cancelled          cancel the experiments; when they have ended, end the study

A study is held under a token (`ipserver.store.transactions.studies`). Every write names the token, including
creations and extensions of experiments, so writes of a driver that has lost its lease are refused.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Final

from ipcore import studies
from iplab.v1.catalog_service_pb2 import Limits
from iplab.v1.spec_pb2 import ExperimentSpec
from iplab.v1.study_pb2 import StudySpec
from ipserver import names
from ipserver.environment.masking import without_secrets
from ipserver.errors import (
    ArtifactsUnavailable,
    Fenced,
    NotFound,
    QuotaExceeded,
    ServiceError,
    StoreUnavailable,
)
from ipserver.request.measured import metrics_of
from ipserver.request.question import question_of
from ipserver.request.submit import create, extend
from ipserver.store import Store
from ipserver.store.companion import accompanied
from ipserver.store.records.audit import OwnActs
from ipserver.store.records.runs import RunRecord
from ipserver.store.records.studies import StudyOutcome, StudyRecord
from ipserver.store.states import ExperimentState, StudyState
from ipserver.studies.outcomes import outcomes
from ipserver.studies.outputs import Outputs
from ipserver.studies.rounds import Block, blocks, next_round, request_of

_log = logging.getLogger(__name__)
_REST_SECONDS: Final = 0.5
_OUTAGE_SECONDS: Final = 2.0
_STOPPING: Final = {state for state in ExperimentState if state.terminal} | {ExperimentState.CANCELLING}

Outcomes = Mapping[studies.Run, studies.Outcome]


class Studies:
    """Drives all studies that no other dispatcher drives.

    Args:
        store: The store.
        limits: Limits on specs.
        outputs: Computes outputs of networks.
        owner: Name of this driver in leases.
        lease_seconds: Length of the leases, after which another driver takes over.
        beat: Called with every pass and every step of a study, as a heartbeat.
        acts: How acts of studies are recorded in the audit log.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        outputs: Outputs,
        owner: str,
        lease_seconds: float = 30.0,
        beat: Callable[[], None] = lambda: None,
        acts: OwnActs | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._outputs = outputs
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._beat = beat
        self._acts = acts or OwnActs()
        # The last notice about waiting, by study.
        self._said: dict[str, str] = {}
        # Number of runs when it was read, and their outcomes, by experiment.
        self._read: dict[str, tuple[int, Outcomes]] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        rest = _REST_SECONDS
        while not stop.wait(rest):
            self._beat()
            try:
                self.step()
                rest = _REST_SECONDS
            except StoreUnavailable as error:
                _log.warning("studies wait for the store: %s", error)
                rest = _OUTAGE_SECONDS
            except Exception:
                # The thread must survive a defect, because no other thread drives studies here.
                _log.exception("studies could not be driven")
                rest = _OUTAGE_SECONDS

    def step(self) -> int:
        """Advance every study by one step; return the number of unfinished studies held here.

        Raises:
            StoreUnavailable: The store cannot be reached now.
        """
        held = self._store.lease_studies(self._owner, self._lease_seconds)
        for study in held:
            self._beat()
            try:
                self._advance(study)
            except StoreUnavailable:
                raise
            except Fenced as error:
                _log.info("study %s: %s", study.id, error)
            except QuotaExceeded as error:
                if error.never:
                    self._fail(study, error)
                else:
                    self._say_once(study, f"waits: {error}")
            except ArtifactsUnavailable as error:
                _log.warning("study %s waits for weights: %s", study.id, error)
            except Exception as error:
                # A study that this version cannot drive must not stop the others.
                _log.exception("study %s cannot continue", study.id)
                self._fail(study, error)
        return len(held)

    def _say_once(self, study: StudyRecord, text: str) -> None:
        if self._said.get(study.id) != text:
            self._said[study.id] = text
            _log.info("study %s %s", study.id, text)

    def _advance(self, study: StudyRecord) -> None:
        if study.cancel_requested:
            self._cancel(study)
            return
        if study.rounds and not study.rounds[-1].done:
            self._act(study)
            return
        if not all(self._ended(name) for name in study.experiments):
            return
        spec = StudySpec.FromString(study.spec)
        question = question_of(spec, self._limits, self._store.capacity())
        results = self._results(study, spec, question)
        decision = studies.plan(question, results)
        outcome = outcome_of(decision, results.core_seconds)
        if isinstance(decision, studies.RunNext):
            new = next_round(study, spec, decision)
            _log.info("study %s, round %d: %d runs: %s", study.id, new.number, new.runs, new.why)
            self._act(self._store.begin_round(study.id, study.token, new, outcome))
            return
        failed = isinstance(decision, studies.OutOfBudget) and decision.reason is studies.Reason.FAILED
        state = StudyState.FAILED if failed else StudyState.SUCCEEDED
        self._store.finish_study(study.id, study.token, state, outcome)
        self._forget(study)
        _log.info("study %s: %s", study.id, outcome.sentence)

    def _act(self, study: StudyRecord) -> None:
        """Take all actions of the last round. Repeated actions change nothing."""
        last, holder = study.rounds[-1], (study.id, study.token)
        for action in last.actions:
            self._beat()
            request = request_of(action)
            name = action["experiment"]
            if "create" in action:
                with self._noting(study, "CreateExperiment", name):
                    create(self._store, request, self._limits, holder)  # type: ignore[arg-type]
            else:
                with self._noting(study, "ExtendExperiment", name):
                    extend(self._store, name, request, self._limits, holder)  # type: ignore[arg-type]
        self._store.end_actions(study.id, study.token, last.number)

    def _cancel(self, study: StudyRecord) -> None:
        """Cancel all experiments; end the study once they have ended."""
        left = False
        for name in study.experiments:
            try:
                experiment = self._store.get_experiment(name)
                if experiment.state not in _STOPPING:
                    with self._noting(study, "CancelExperiment", name):
                        experiment = self._store.cancel_experiment(name)
                left |= not experiment.state.terminal
            except NotFound:  # the last round has not created it yet
                continue
        if left:
            return
        known = study.outcome.sentence
        sentence = f"It was cancelled. {known}" if known else "It was cancelled before anything was known."
        outcome = replace(study.outcome, reason="CANCELLED", sentence=sentence)
        self._store.finish_study(study.id, study.token, StudyState.CANCELLED, outcome)
        self._forget(study)

    def _fail(self, study: StudyRecord, error: Exception) -> None:
        shown = str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
        said = f"The study cannot continue: {without_secrets(shown)}"
        outcome = replace(study.outcome, reason="FAILED", sentence=said)
        try:
            self._store.finish_study(study.id, study.token, StudyState.FAILED, outcome)
        except Fenced as fenced:
            _log.info("study %s: %s", study.id, fenced)

    def _noting(self, study: StudyRecord, method: str, experiment: str) -> AbstractContextManager[None]:
        """Context whose writes include an audit entry that names the study and its user."""
        user = f"study {study.id} for {study.owned_by}" if study.owned_by else f"study {study.id}"
        call = self._acts.call(user, f"ExperimentService/{method}", names.experiment_name(experiment))
        return accompanied(self._store.entry_of(call, self._acts.keep_seconds))

    def _ended(self, experiment: str) -> bool:
        return self._store.get_experiment(experiment).state.terminal

    def _results(self, study: StudyRecord, spec: StudySpec, question: studies.Question) -> studies.Results:
        metrics = metrics_of(question)
        runs: dict[studies.Run, studies.Outcome] = {}
        for block in blocks(study.rounds):
            runs.update(self._outcomes(block, metrics, spec.base))
        return studies.Results(runs, study.wall_seconds)

    def _outcomes(self, block: Block, metrics: tuple[studies.Metric, ...], base: ExperimentSpec) -> Outcomes:
        """Outcomes of ended runs. They do not change, so they are cached."""
        total = len(block.rates) * len(block.seeds)
        known = self._read.get(block.experiment)
        if known is None or known[0] != total:

            def vector(run: RunRecord, step: int) -> tuple[float, ...] | None:
                self._beat()
                return self._outputs.at(run, base.dataset, step)

            known = total, outcomes(self._store, block, metrics, base.resources.cpus, vector)
            self._read[block.experiment] = known
        return known[1]

    def _forget(self, study: StudyRecord) -> None:
        for name in study.experiments:
            self._read.pop(name, None)


def outcome_of(decision: studies.Decision, core_seconds: float) -> StudyOutcome:
    """Convert a decision for the store."""
    answers = tuple(_plain(answer) for answer in decision.answers)
    if isinstance(decision, studies.Decided):
        verdict, reason, sentence = decision.verdict.name, "DECIDED", decision.sentence
    elif isinstance(decision, studies.OutOfBudget):
        verdict, reason, sentence = studies.Verdict.UNDECIDED.name, decision.reason.name, decision.sentence
    else:
        verdict, reason = studies.Verdict.UNDECIDED.name, ""
        sentence = " ".join(answer.sentence for answer in decision.answers)
    return StudyOutcome(verdict, reason, sentence, answers, core_seconds)


def _plain(answer: studies.Answer) -> dict[str, Any]:
    """An answer with the fields of `iplab.v1.StudyAnswer`."""
    return {
        "subject": answer.subject,
        "verdict": answer.verdict.name,
        "sentence": answer.sentence,
        "cells": [dict(_cell(cell)) for cell in answer.cells],
    }


def _cell(cell: studies.Cell) -> Iterator[tuple[str, Any]]:
    """Fields of `iplab.v1.StudyCell`, without values that are not finite or not known."""
    bounds = asdict(cell.interval)
    for name, value in {**{f.name: getattr(cell, f.name) for f in fields(cell)}, **bounds}.items():
        if name in {"subject", "interval"} or not _known(value):
            continue
        if is_dataclass(value) and not isinstance(value, type):
            yield name, {key: one for key, one in asdict(value).items() if _known(one)}
        else:
            yield name, value.name if isinstance(value, Enum) else value


def _known(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
