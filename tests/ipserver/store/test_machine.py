"""Any sequence of operations, held against a small model of runs and packs.

The model says what each operation does to runs and packs; the invariants hold after every step: terminal
states are final, cancellation is monotone, nothing is committed without the current token, a pack has at
most one live attempt, events are numbered 1, 2, ... and tell every state as it is, counters are exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ipserver.errors import Fenced
from ipserver.states import (
    ExperimentState,
    FailureReason,
    PackState,
    RunState,
    experiment_state,
)
from ipserver.store import Store, open_store
from ipserver.store.records import Failure, LeasedPack
from ipserver.store.tables import metadata
from tests.ipserver.store.cases import TTL, Clock, a_slice, new_experiment, new_pack, new_runs

PACKS = {"p0": (0, 1, 2), "p1": (3, 4), "p2": (5,)}
RUNS = [index for members in PACKS.values() for index in members]
STEPS = 4
OWNERS = st.sampled_from(["ann", "bob"])
FAILURE = Failure(FailureReason.TRAINING_ERROR, "it broke")
UNFINISHED = {RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING}


@dataclass
class Pack:
    """What the model knows of a pack."""

    members: tuple[int, ...]
    state: PackState = PackState.QUEUED
    token: int = 0
    owner: str = ""
    expires: float = 0.0
    committed: int = 0


@dataclass
class Model:
    """Runs and packs as they should be."""

    runs: dict[int, RunState] = field(default_factory=lambda: dict.fromkeys(RUNS, RunState.QUEUED))
    steps: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RUNS, 0))
    packs: dict[str, Pack] = field(default_factory=dict)
    planned: bool = False
    cancelling: bool = False

    def move(self, members: tuple[int, ...] | list[int], before: RunState, after: RunState) -> None:
        for index in members:
            if self.runs[index] is before:
                self.runs[index] = after

    def settle(self) -> None:
        """Packs without a run to train are done unless somebody holds them."""
        for pack in self.packs.values():
            if pack.state is PackState.QUEUED and not self.unfinished(pack):
                pack.state = PackState.DONE

    def unfinished(self, pack: Pack) -> bool:
        return any(self.runs[index] in UNFINISHED for index in pack.members)

    def give_back(self, pack: Pack, after: RunState) -> None:
        self.move(pack.members, RunState.CANCELLING, RunState.CANCELLED)
        self.move(pack.members, RunState.RUNNING, after)
        pack.state, pack.owner = PackState.QUEUED, ""
        self.settle()


class StoreMachine(RuleBasedStateMachine):
    """Operations of two dispatchers, a user and time."""

    store: Store
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        with self.store.database.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.model = Model()
        self.tokens: list[tuple[str, int]] = [("p0", 0), ("p0", 1)]
        self.replayed: dict[int, RunState] = dict.fromkeys(RUNS, RunState.QUEUED)
        self.told_experiment = ""
        self.heard = 0

    @initialize()
    def create(self) -> None:
        self.store.create_experiment(new_experiment(steps=STEPS), new_runs(len(RUNS)))

    @rule(owner=OWNERS)
    def plan(self, owner: str) -> None:
        leased = self.store.lease_unplanned(owner, TTL)
        if self.model.planned or not self._unfinished_runs():
            assert leased is None
            return
        if leased is None:  # The other one holds it and has not got to it.
            self.clock.advance(TTL)
            leased = self.store.lease_unplanned(owner, TTL)
        assert leased is not None
        assert [run.index for run in leased[1]] == self._unfinished_runs()
        plan = [new_pack(name, members, STEPS) for name, members in PACKS.items()]
        self.store.save_plan("e", owner, plan)
        self.model.planned = True
        for name, members in PACKS.items():
            left = tuple(index for index in members if self.model.runs[index] is RunState.QUEUED)
            if left:
                self.model.packs[name] = Pack(left)

    def _unfinished_runs(self) -> list[int]:
        return [index for index, state in self.model.runs.items() if state in UNFINISHED]

    @rule(owner=OWNERS)
    def lease(self, owner: str) -> None:
        waiting = sorted(name for name, pack in self.model.packs.items() if pack.state is PackState.QUEUED)
        leased = self.store.lease_pack(owner, TTL)
        if not waiting:
            assert leased is None
            return
        assert isinstance(leased, LeasedPack)
        pack = self.model.packs[waiting[0]]
        assert (leased.id, leased.committed_steps) == (waiting[0], pack.committed)
        assert leased.token > pack.token
        self.tokens.append((leased.id, leased.token))
        pack.state, pack.token, pack.owner = PackState.LEASED, leased.token, owner
        pack.expires = self.clock.time + TTL
        self.model.move(pack.members, RunState.QUEUED, RunState.RUNNING)

    @rule(
        pick=st.integers(0, 100),
        skip=st.sampled_from([1, 1, 1, 1, 0, 2]),
        length=st.integers(1, 2),
        ends=st.dictionaries(
            st.sampled_from(RUNS), st.sampled_from([RunState.SUCCEEDED, RunState.DIVERGED]), max_size=2
        ),
    )
    def commit(self, pick: int, skip: int, length: int, ends: dict[int, RunState]) -> None:
        """By any token that ever was, newest most likely; `skip` 0 or 2 is not the next step."""
        name, token = self.tokens[-1 - pick % len(self.tokens)] if pick > 60 else self.tokens[-1]
        pack = self.model.packs.get(name)
        first = (0 if pack is None else pack.committed) + skip
        last = min(first + length - 1, STEPS)
        commit = a_slice(first, max(first, last), ended=ends)
        good = pack is not None and pack.state is PackState.LEASED and pack.token == token and skip == 1
        if not good:
            with pytest.raises(Fenced):
                self.store.commit_slice("e", name, token, commit)
            return
        assert pack is not None
        if first > STEPS:  # Nothing is left to train: end it.
            ends = dict.fromkeys(pack.members, RunState.SUCCEEDED)
            commit = a_slice(STEPS, STEPS, segment=b"", ended=ends, finished=True)
            last = STEPS
        result = self.store.commit_slice("e", name, token, commit)
        for index in pack.members:
            if self.model.runs[index] in UNFINISHED:
                self.model.steps[index] = last
        pack.committed = last
        self.model.move(pack.members, RunState.CANCELLING, RunState.CANCELLED)
        for index, state in ends.items():
            if index in pack.members:
                self.model.move([index], RunState.RUNNING, state)
        ended = {index for index in pack.members if self.model.runs[index] not in UNFINISHED}
        assert result.ended == ended
        assert result.done == (len(ended) == len(pack.members))
        if result.done:
            pack.state, pack.owner = PackState.DONE, ""

    @rule(pick=st.integers(0, 100), retry=st.booleans())
    def end_attempt(self, pick: int, retry: bool) -> None:
        name, token = self.tokens[-1 - pick % len(self.tokens)]
        pack = self.model.packs.get(name)
        if pack is None or pack.token != token or pack.state is PackState.QUEUED:
            with pytest.raises(Fenced):
                self.store.end_attempt("e", name, token, failure=FAILURE, retry=retry)
            return
        self.store.end_attempt("e", name, token, failure=FAILURE, retry=retry)
        if pack.state is PackState.LEASED:
            self.model.give_back(pack, RunState.QUEUED if retry else RunState.FAILED)

    @rule(seconds=st.sampled_from([1.0, TTL / 2, TTL]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        ours = {name: pack for name, pack in self.model.packs.items() if pack.owner == owner}
        held = self.store.renew(owner, TTL)
        assert held == {("e", name, pack.token) for name, pack in ours.items()}
        for pack in ours.values():
            pack.expires = self.clock.time + TTL

    @rule()
    def reap(self) -> None:
        expired = [
            pack
            for pack in self.model.packs.values()
            if pack.state is PackState.LEASED and pack.expires <= self.clock.time
        ]
        assert self.store.reap_expired() == len(expired)
        for pack in expired:
            self.model.give_back(pack, RunState.QUEUED)

    @rule(index=st.sampled_from(RUNS))
    def cancel_run(self, index: int) -> None:
        self.model.move([index], RunState.QUEUED, RunState.CANCELLED)
        self.model.move([index], RunState.RUNNING, RunState.CANCELLING)
        self.model.settle()
        assert self.store.cancel_run("e", index).state is self.model.runs[index]

    @rule(really=st.integers(0, 3))
    def cancel_experiment(self, really: int) -> None:
        if really:  # Seldom, or little else would happen.
            return
        if self._unfinished_runs():
            self.model.cancelling = True
        self.model.move(RUNS, RunState.QUEUED, RunState.CANCELLED)
        self.model.move(RUNS, RunState.RUNNING, RunState.CANCELLING)
        self.model.settle()
        self.store.cancel_experiment("e")

    @rule(index=st.sampled_from(RUNS))
    def forward(self, index: int) -> None:
        """Sends all there is of one run; it is no longer due then."""
        due = {task.run.index for task in self.store.forward_tasks(100)}
        if index not in due:
            return
        run = self.store.get_run("e", index)
        segments = list(
            self.store.segments("e", packs=[run.pack], first_step=0, last_step=run.committed_steps)
        )
        newest = max((segment.id for segment in segments), default=0)
        self.store.set_mlflow_run("e", index, f"mlflow-{index}")
        self.store.mark_forwarded("e", index, segment=newest, state=run.state)
        assert {task.run.index for task in self.store.forward_tasks(100)} == due - {index}

    @invariant()
    def runs_and_packs_are_as_the_model_says(self) -> None:
        runs = self.store.list_runs("e", limit=100)
        assert {run.index: run.state for run in runs} == self.model.runs
        assert {run.index: run.committed_steps for run in runs} == self.model.steps
        for run in runs:
            assert (run.failure is not None) == (run.state is RunState.FAILED)
            assert (run.end_time is not None) == run.state.terminal
            pack = self.model.packs.get(run.pack)
            live = [attempt for attempt in self.store.attempts("e", run.index) if attempt.end_time is None]
            if run.state in {RunState.RUNNING, RunState.CANCELLING}:
                assert pack is not None
                assert [attempt.token for attempt in live] == [pack.token]
            else:
                assert len(live) <= 1
        busy = any(pack.state is not PackState.DONE for pack in self.model.packs.values())
        unplanned = not self.model.planned and bool(self._unfinished_runs())
        assert self.store.idle() == (not busy and not unplanned)

    @invariant()
    def counters_are_exact(self) -> None:
        record = self.store.get_experiment("e")
        counts = Counter(self.model.runs.values())
        assert record.counts == dict.fromkeys(RunState, 0) | counts
        assert record.committed_steps == sum(self.model.steps.values())
        assert record.state is experiment_state(dict(counts), self.model.cancelling)
        assert (record.end_time is not None) == record.state.terminal
        due = {task.run.index for task in self.store.forward_tasks(100)}
        open_runs = {index for index, state in self.model.runs.items() if state in UNFINISHED}
        assert record.mlflow_pending_runs == len(open_runs | due)

    @invariant()
    def events_are_gapless_and_tell_all(self) -> None:
        for event in self.store.events("e", after=self.heard, limit=1000):
            assert event.sequence == self.heard + 1
            self.heard = event.sequence
            assert not self.told_experiment or not ExperimentState(self.told_experiment).terminal
            if event.kind == "runs_state":
                for index in event.payload["runs"]:  # type: ignore[attr-defined]  # a list, as documented
                    before, after = self.replayed[index], RunState(str(event.payload["state"]))
                    assert not before.terminal
                    assert before is not RunState.CANCELLING or after is RunState.CANCELLED
                    self.replayed[index] = after
            elif event.kind == "experiment_state":
                self.told_experiment = str(event.payload["state"])
        assert self.replayed == self.model.runs
        record = self.store.get_experiment("e")
        assert (record.sequence, record.state.value) == (self.heard, self.told_experiment)
        assert self.store.heads(["e"]) == {"e": self.heard}


def test_any_sequence_of_operations(dsn: str) -> None:
    clock = Clock()
    with open_store(dsn, clock=clock) as store:
        machine = type("Machine", (StoreMachine,), {"store": store, "clock": clock})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=20 if dsn.startswith("sqlite") else 6,
                stateful_step_count=30,
                deadline=None,
                derandomize=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
