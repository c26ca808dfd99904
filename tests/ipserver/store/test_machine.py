"""Random sequences of operations, compared with a small model of runs and packs.

The model defines the effect of each operation on runs and packs. Invariants hold after every step: terminal
states are final, cancellation is monotone, nothing is committed without the current token, a pack has at most
one live attempt, paused packs are not leased, events are numbered 1, 2, ... and agree with the states, and
counters are exact.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ipserver.errors import Fenced, InvalidRequest
from ipserver.store import Store, open_store
from ipserver.store.records.experiments import Extension
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.records.packs import LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import (
    ExperimentState,
    FailureReason,
    PackState,
    RunState,
    experiment_state,
)
from ipserver.store.tables import metadata, projects
from tests.ipserver.store.cases import TTL, Clock, a_slice, new_experiment, new_pack, new_runs

# Number of sequences on PostgreSQL; twice as many on SQLite. For more, set IPLAB_TEST_EXAMPLES=200.
EXAMPLES = int(os.environ.get("IPLAB_TEST_EXAMPLES", "10"))
PACKS = {"p0": (0, 1, 2), "p1": (3, 4), "p2": (5,)}
RUNS = [index for members in PACKS.values() for index in members]
STEPS = 4
MOST_RUNS = len(RUNS) + 3
OWNERS = st.sampled_from(["ann", "bob"])
# Cancellation ends an example soon, so it is rare.
SELDOM = st.sampled_from([False, False, False, True])
FAILURE = Failure(FailureReason.TRAINING_ERROR, "it broke")
UNFINISHED = {RunState.QUEUED, RunState.RUNNING, RunState.PAUSED, RunState.CANCELLING}
TOO_LARGE = Failure(FailureReason.UNSCHEDULABLE, "no node can hold it")
TIMEOUT = 2 * TTL


@dataclass
class Pack:
    """The model of a pack."""

    members: tuple[int, ...]
    state: PackState = PackState.QUEUED
    token: int = 0
    owner: str = ""
    expires: float = 0.0
    committed: int = 0


@dataclass
class Model:
    """The model of runs and packs."""

    runs: dict[int, RunState] = field(default_factory=lambda: dict.fromkeys(RUNS, RunState.QUEUED))
    steps: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RUNS, 0))
    packs: dict[str, Pack] = field(default_factory=dict)
    planned: bool = False
    cancelling: bool = False
    pausing: bool = False
    unplaceable_since: float | None = None

    def move(self, members: tuple[int, ...] | list[int], before: RunState, after: RunState) -> None:
        for index in members:
            if self.runs[index] is before:
                self.runs[index] = after

    def settle(self) -> None:
        """Packs without a run to train are done unless they are leased."""
        for pack in self.packs.values():
            if pack.state is PackState.QUEUED and not self.unfinished(pack):
                pack.state = PackState.DONE

    def unfinished(self, pack: Pack) -> bool:
        return any(self.runs[index] in UNFINISHED for index in pack.members)

    def give_back(self, pack: Pack, after: RunState) -> None:
        self.move(pack.members, RunState.CANCELLING, RunState.CANCELLED)
        if after is RunState.QUEUED and self.pausing:
            after = RunState.PAUSED
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
                if table is not projects:  # the project "default" is there from the start
                    connection.execute(table.delete())
        self.model = Model()
        self.tokens: list[tuple[str, int]] = []
        self.replayed: dict[int, RunState] = dict.fromkeys(RUNS, RunState.QUEUED)
        self.told_experiment = ""
        self.heard = 0

    @initialize(ready=st.sampled_from([True, True, False]), pausing=SELDOM)
    def create(self, ready: bool, pausing: bool) -> None:
        """Most examples begin when two packs train, some when they are to pause."""
        self.store.create_experiment(new_experiment(steps=STEPS), new_runs(len(RUNS)))
        if ready:
            self.plan("ann")
            self.lease("ann")
            self.lease("bob")
        if pausing:
            self.pause()

    @precondition(lambda self: not self.model.planned)
    @rule(owner=OWNERS, pause_meanwhile=st.booleans())
    def plan(self, owner: str, pause_meanwhile: bool = False) -> None:
        leased = self.store.lease_unplanned(owner, TTL)
        if self.model.planned or self.model.pausing or not self._unfinished_runs():
            assert leased is None
            return
        if leased is None:  # The other dispatcher holds the lease and has not acted yet.
            self.clock.advance(TTL)
            leased = self.store.lease_unplanned(owner, TTL)
        assert leased is not None
        assert [run.index for run in leased[1]] == self._unpacked()
        packs = {} if self.model.packs else PACKS
        planned = {index for members in packs.values() for index in members}
        later = tuple(index for index in self._unpacked() if index not in planned)
        packs = packs | {f"p{len(packs) + len(self.model.packs)}": later}
        packs = {name: members for name, members in packs.items() if members}
        plan = [new_pack(name, members, STEPS) for name, members in packs.items()]
        if pause_meanwhile:
            self.pause()
        self.store.save_plan("e", owner, plan)
        self.model.planned = True
        for name, members in packs.items():
            left = tuple(index for index in members if self.model.runs[index] in UNFINISHED)
            if left:
                self.model.packs[name] = Pack(left)

    def _unpacked(self) -> list[int]:
        packed = {index for pack in self.model.packs.values() for index in pack.members}
        return [index for index in self._unfinished_runs() if index not in packed]

    @precondition(lambda self: len(self.model.runs) < MOST_RUNS)
    @rule(known=st.booleans())
    def extend(self, known: bool) -> None:
        """One run more; `known`: whether the caller knows the present spec."""
        index, state = len(self.model.runs), self._experiment_state()
        spec_hash = self.store.get_experiment("e").spec_hash
        extension = Extension(
            request_id="",
            request_hash="hash",
            extended_hash=spec_hash if known else "another",
            added={"seeds": (index,)},
            runs=tuple(new_runs(index + 1)[index:]),
            spec=b"extended",
            spec_hash=f"{spec_hash}+",
            run_memory_bytes=7,
            warnings=(),
        )
        if self.model.cancelling or state in {ExperimentState.CANCELLING, ExperimentState.CANCELLED}:
            with pytest.raises(InvalidRequest):
                self.store.extend_experiment("e", extension)
            return
        record = self.store.extend_experiment("e", extension)
        assert (record is not None) == known
        if not known:
            return
        self.model.pausing &= not state.terminal
        self.model.runs[index] = RunState.PAUSED if self.model.pausing else RunState.QUEUED
        self.replayed[index] = self.model.runs[index]
        self.model.steps[index] = 0
        self.model.planned = False

    def _unfinished_runs(self) -> list[int]:
        return [index for index, state in self.model.runs.items() if state in UNFINISHED]

    @precondition(lambda self: self.model.planned)
    @rule(owner=OWNERS)
    def lease(self, owner: str) -> None:
        waiting = sorted(name for name, pack in self.model.packs.items() if pack.state is PackState.QUEUED)
        leased = self.store.lease_pack("e", owner, TTL)
        if not waiting or self.model.pausing:
            assert leased is None
            return
        assert isinstance(leased, LeasedPack)
        pack = self.model.packs[waiting[0]]
        assert (leased.id, leased.committed_steps) == (waiting[0], pack.committed)
        assert leased.token > pack.token
        following = a_slice(pack.committed + 1, pack.committed + 1)
        with pytest.raises(Fenced):  # The previous holder does not know it yet.
            self.store.commit_slice("e", leased.id, pack.token, following)
        self.tokens.append((leased.id, leased.token))
        pack.state, pack.token, pack.owner = PackState.LEASED, leased.token, owner
        pack.expires = self.clock.time + TTL
        self.model.move(pack.members, RunState.QUEUED, RunState.RUNNING)

    @precondition(lambda self: self.tokens)
    @rule(pick=st.integers(0, 20), skip=st.sampled_from([0, 1, 2]))
    def commit_astray(self, pick: int, skip: int) -> None:
        """Commit by any earlier token; commits that do not follow under the current token are refused."""
        name, token = self.tokens[pick % len(self.tokens)]
        pack = self.model.packs[name]
        if skip == 1 and pack.token == token and pack.state is PackState.LEASED:
            return
        first = pack.committed + skip
        with pytest.raises(Fenced):
            self.store.commit_slice("e", name, token, a_slice(first, first))

    @precondition(lambda self: self._held())
    @rule(
        pick=st.integers(0, 2),
        length=st.integers(1, 2),
        ends=st.lists(st.sampled_from([None, RunState.SUCCEEDED, RunState.DIVERGED]), max_size=3),
    )
    def commit(self, pick: int, length: int, ends: list[RunState | None]) -> None:
        """The next slice of a pack; `ends` are for its runs, in order."""
        held = self._held()
        name, pack = held[pick % len(held)]
        first = pack.committed + 1
        last = min(first + length - 1, STEPS)
        ended = {index: state for index, state in zip(pack.members, ends, strict=False) if state is not None}
        commit = a_slice(first, last, ended=ended)
        if first > STEPS:  # Nothing is left to train, so end it.
            ended = dict.fromkeys(pack.members, RunState.SUCCEEDED)
            commit = a_slice(STEPS, STEPS, segment=b"", ended=ended, finished=True)
        result = self.store.commit_slice("e", name, pack.token, commit)
        for index in pack.members:
            if self.model.runs[index] in UNFINISHED:
                self.model.steps[index] = last
        pack.committed = last
        self.model.move(pack.members, RunState.CANCELLING, RunState.CANCELLED)
        for index, state in ended.items():
            self.model.move([index], RunState.RUNNING, state)
        assert result.ended == {index for index in pack.members if self.model.runs[index] not in UNFINISHED}
        assert result.done == (len(result.ended) == len(pack.members))
        assert result.pausing == self.model.pausing
        if result.done:
            pack.state, pack.owner = PackState.DONE, ""

    def _held(self) -> list[tuple[str, Pack]]:
        return [(name, pack) for name, pack in self.model.packs.items() if pack.state is PackState.LEASED]

    @precondition(lambda self: self.tokens)
    @rule(pick=st.integers(0, 100), retry=st.booleans())
    def end_attempt(self, pick: int, retry: bool) -> None:
        name, token = self.tokens[pick % len(self.tokens)]
        pack = self.model.packs[name]
        if pack.token != token or pack.state is PackState.QUEUED:
            with pytest.raises(Fenced):
                self.store.end_attempt("e", name, token, failure=FAILURE, retry=retry)
            return
        self.store.end_attempt("e", name, token, failure=FAILURE, retry=retry)
        if pack.state is PackState.LEASED:
            self.model.give_back(pack, RunState.QUEUED if retry else RunState.FAILED)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        known = data.draw(st.sets(st.sampled_from(self.tokens)))
        held = {
            name: pack
            for name, pack in self.model.packs.items()
            if (name, pack.token) in known and pack.state is PackState.LEASED
        }
        renewed = self.store.renew([("e", name, token) for name, token in known], TTL)
        assert renewed == {("e", name, pack.token) for name, pack in held.items()}
        for pack in held.values():
            pack.expires = self.clock.time + TTL

    @precondition(lambda self: self.tokens)
    @rule(seconds=st.sampled_from([1.0, TTL / 2, TTL]))
    def wait_and_reap(self, seconds: float) -> None:
        self.clock.advance(seconds)
        expired = [
            pack
            for pack in self.model.packs.values()
            if pack.state is PackState.LEASED and pack.expires <= self.clock.time
        ]
        assert self.store.reap_expired() == len(expired)
        for pack in expired:
            self.model.give_back(pack, RunState.QUEUED)

    @rule(index=st.sampled_from(RUNS), really=SELDOM)
    def cancel_any_run(self, index: int, really: bool) -> None:
        if really:
            self._cancel(index)

    @precondition(lambda self: self._held())
    @rule(pick=st.integers(0, 2), really=st.booleans())
    def cancel_a_training_run(self, pick: int, really: bool) -> None:
        if really:
            held = self._held()
            self._cancel(held[pick % len(held)][1].members[0])

    def _cancel(self, index: int) -> None:
        for before in (RunState.QUEUED, RunState.PAUSED):
            self.model.move([index], before, RunState.CANCELLED)
        self.model.move([index], RunState.RUNNING, RunState.CANCELLING)
        self.model.settle()
        assert self.store.cancel_run("e", index).state is self.model.runs[index]

    @rule(really=SELDOM)
    def cancel_experiment(self, really: bool) -> None:
        if not really:
            return
        if self._unfinished_runs():
            self.model.cancelling, self.model.pausing = True, False
        for before in (RunState.QUEUED, RunState.PAUSED):
            self.model.move(list(self.model.runs), before, RunState.CANCELLED)
        self.model.move(list(self.model.runs), RunState.RUNNING, RunState.CANCELLING)
        self.model.settle()
        self.store.cancel_experiment("e")

    @rule()
    def pause(self) -> None:
        if self._unfinished_runs() and not self.model.cancelling and not self.model.pausing:
            self.model.pausing, self.model.unplaceable_since = True, None
            self.model.move(list(self.model.runs), RunState.QUEUED, RunState.PAUSED)
        assert self.store.pause_experiment("e").state is self._experiment_state()

    @rule(really=st.booleans())
    def resume(self, really: bool) -> None:
        if not really:
            return
        if self._unfinished_runs():
            self.model.pausing = False
        self.model.move(list(self.model.runs), RunState.PAUSED, RunState.QUEUED)
        assert self.store.resume_experiment("e").state is self._experiment_state()

    @precondition(lambda self: self.model.planned)
    @rule(holds=st.sampled_from([False, False, True]))
    def look_for_a_node(self, holds: bool) -> None:
        """A dispatcher that sees no node for waiting packs, or one."""
        if holds:
            self.store.placeable("e")
            self.model.unplaceable_since = None
            return
        ended = self.store.unplaceable("e", TIMEOUT, TOO_LARGE)
        waiting = [pack for pack in self.model.packs.values() if pack.state is PackState.QUEUED]
        since = self.model.unplaceable_since
        if not waiting or self.model.pausing:
            assert ended == 0
        elif since is None or self.clock.time - since < TIMEOUT:
            self.model.unplaceable_since = self.clock.time if since is None else since
            assert ended == 0
        else:
            self.model.unplaceable_since = None
            for pack in waiting:
                self.model.move(pack.members, RunState.QUEUED, RunState.FAILED)
            self.model.settle()
            assert ended == len(waiting)

    @precondition(lambda self: self.tokens)
    @rule()
    def ask_what_is_unwanted(self) -> None:
        unwanted = {
            ("e", name, pack.token)
            for name, pack in self._held()
            if self.model.pausing
            or not any(self.model.runs[index] is RunState.RUNNING for index in pack.members)
        }
        assert self.store.unwanted([("e", name, token) for name, token in self.tokens]) == unwanted

    @precondition(lambda self: self.tokens)
    @rule(index=st.sampled_from(RUNS))
    def forward(self, index: int) -> None:
        """Send all data of one run, which is then no longer due."""
        due = {task.run.index for task in self.store.forward_tasks(100)}
        if index not in due:
            return
        run = self.store.get_run("e", index)
        segments = list(
            self.store.segments("e", packs=[run.pack], first_step=0, last_step=run.committed_steps)
        )
        newest = max((segment.id for segment in segments), default=0)
        state = run.state if run.state.terminal else None
        sent = Forwarded("e", index, f"mlflow-{index}", new=True, segment=newest, state=state)
        assert self.store.mark_forwarded([sent]) == []
        assert {task.run.index for task in self.store.forward_tasks(100)} == due - {index}

    @invariant()
    def runs_and_packs_are_as_the_model_says(self) -> None:
        runs = self.store.list_runs("e", limit=100)
        assert {run.index: run.state for run in runs} == self.model.runs
        assert {run.index: run.committed_steps for run in runs} == self.model.steps
        for run in runs:
            assert (run.failure is not None) == (run.state is RunState.FAILED)
            assert (run.end_time is not None) == run.state.terminal
        for pack in self.model.packs.values():
            live = [it for it in self.store.attempts("e", pack.members[0]) if it.end_time is None]
            assert len(live) <= 1
            if self.model.runs[pack.members[0]] in {RunState.RUNNING, RunState.CANCELLING}:
                assert [(attempt.token, attempt.owner) for attempt in live] == [(pack.token, pack.owner)]
        busy = any(pack.state is not PackState.DONE for pack in self.model.packs.values())
        if self.model.pausing:  # only leased packs are work now
            busy = bool(self._held())
        unplanned = not self.model.planned and not self.model.pausing and bool(self._unfinished_runs())
        assert self.store.idle() == (not busy and not unplanned)

    @invariant()
    def events_are_gapless_and_tell_all(self) -> None:
        for event in self.store.events("e", after=self.heard, limit=1000):
            assert event.sequence == self.heard + 1
            self.heard = event.sequence
            if event.kind == "extended" and ExperimentState(self.told_experiment).terminal:
                self.told_experiment = ""  # the next event must say that it runs again
            assert not self.told_experiment or not ExperimentState(self.told_experiment).terminal
            if event.kind == "runs_state":
                for index in event.payload["runs"]:  # type: ignore[attr-defined]  # a list, as documented
                    before, after = self.replayed[index], RunState(str(event.payload["state"]))
                    assert not before.terminal
                    assert before is not RunState.CANCELLING or after is RunState.CANCELLED
                    assert before is not RunState.PAUSED or after is not RunState.RUNNING
                    self.replayed[index] = after
            elif event.kind == "experiment_state":
                self.told_experiment = str(event.payload["state"])
        assert self.replayed == self.model.runs
        assert self.told_experiment == self._experiment_state().value
        assert self.store.heads(["e"]) == {"e": self.heard}

    def _experiment_state(self) -> ExperimentState:
        counts = Counter(self.model.runs.values())
        return experiment_state(counts, cancelling=self.model.cancelling, pausing=self.model.pausing)

    @invariant()
    def counters_are_exact(self) -> None:
        record = self.store.get_experiment("e")
        counts = Counter(self.model.runs.values())
        assert record.counts == dict.fromkeys(RunState, 0) | counts
        assert record.committed_steps == sum(self.model.steps.values())
        assert record.state is self._experiment_state()
        assert (record.end_time is not None) == record.state.terminal
        assert record.unplaceable_since == self.model.unplaceable_since
        waits = any(pack.state is PackState.QUEUED for pack in self.model.packs.values())
        leasable = waits and self.model.planned and not self.model.pausing
        assert [it.id for it in self.store.waiting()] == ["e"] * leasable
        due = {task.run.index for task in self.store.forward_tasks(100)}
        open_runs = {index for index, state in self.model.runs.items() if state in UNFINISHED}
        assert record.mlflow_pending_runs == len(open_runs | due)


def test_any_sequence_of_operations(dsn: str) -> None:
    clock = Clock()
    with open_store(dsn, clock=clock) as store:
        machine = type("Machine", (StoreMachine,), {"store": store, "clock": clock})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES * (2 if dsn.startswith("sqlite") else 1),
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
