"""The store as the other parts see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from ipserver import failpoints
from ipserver.store import (
    board,
    capacity,
    clocks,
    commits,
    events,
    experiments,
    files,
    forwarding,
    identity,
    leases,
    planning,
    runs,
    splitting,
    sweeping,
    unplaceable,
)
from ipserver.store.database import Database, Transaction, damage
from ipserver.store.records import (
    ArtifactRecord,
    AttemptRecord,
    Board,
    CapacityReport,
    CheckpointRecord,
    CommitResult,
    Comparison,
    EndedPack,
    EventRecord,
    ExperimentRecord,
    Failure,
    Forwarded,
    ForwardTask,
    Identity,
    LeasedPack,
    Move,
    Moved,
    NamedFile,
    NewExperiment,
    NewPack,
    NewRun,
    RunRecord,
    SegmentRecord,
    SliceCommit,
)

SEGMENTS_AT_ONCE = 16

P = ParamSpec("P")
T = TypeVar("T")


def open_store(dsn: str, *, clock: Callable[[], float] | None = None) -> Store:
    """A store on the database at `dsn`; connects when first used.

    Args:
        dsn: "sqlite:////absolute/path/iplab.db" or "postgresql+psycopg://user:password@host:5432/database".
        clock: Seconds since 1970 instead of the database's clock, for tests.

    Raises:
        StartupError: The DSN is malformed, or SQLite's folder does not exist.

    >>> import tempfile
    >>> from ipserver.store import migrate
    >>> dsn = f"sqlite:///{tempfile.mkdtemp()}/iplab.db"
    >>> migrate(dsn)
    >>> with open_store(dsn) as store:
    ...     store.list_experiments(limit=10)
    []
    """
    return Store(Database(dsn, clock))


class Store:
    """Experiments, runs, packs, leases, events and metric segments.

    Thread-safe. Every method is one transaction, durable when it returns (`segments` reads in several). Any
    of them may raise `StoreUnavailable`; a write may then have happened or not, and can be repeated where it
    says so.

    Attributes:
        database: Where it lies.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self.database.close()

    def _watched(
        self, point: str, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A write that tests can interrupt before, during and after its transaction."""
        with failpoints.around(point):
            return self.database.write(failpoints.then(work, f"{point}.during"), *args, **kwargs)

    # What users do.

    def create_experiment(self, new: NewExperiment, runs: Sequence[NewRun]) -> ExperimentRecord:
        """Accepts an experiment with all its runs. Repeatable if it has a request id.

        Args:
            new: The experiment. A request id that was used with the same hash gives the experiment of then.
            runs: At least one, with distinct indices.

        Raises:
            RequestIdReused: The request id was used with another hash.
            AlreadyExists: The id is taken.
        """
        return self._watched("create", experiments.create, new, runs)

    def find_request(self, request_id: str, request_hash: str) -> ExperimentRecord | None:
        """The experiment that a request has created, if it has.

        Raises:
            RequestIdReused: The request id was used with another hash.
        """
        return self.database.read(experiments.find_request, request_id, request_hash)

    def get_experiment(self, id: str) -> ExperimentRecord:
        """One experiment. Raises NotFound."""
        return self.database.read(experiments.get, id)

    def list_experiments(
        self, where: Sequence[Comparison] = (), *, limit: int, before: tuple[float, str] | None = None
    ) -> list[ExperimentRecord]:
        """Experiments, newest first.

        Args:
            where: Conditions on state, experiment, priority, labels.KEY.
            limit: Most records.
            before: Creation time and id of the last record of the page before.

        Raises:
            ValueError: A condition on another field.
        """
        return self.database.read(experiments.listing, where, limit, before)

    def cancel_experiment(self, id: str) -> ExperimentRecord:
        """Asks all unfinished runs to stop: queued ones are cancelled now. Repeatable. Raises NotFound."""
        return self.database.write(experiments.cancel, id)

    def pause_experiment(self, id: str) -> ExperimentRecord:
        """Lets nothing of it be trained until it is resumed: what trains is given back at a slice boundary.

        Changes nothing if it has ended, or is to be cancelled. Repeatable. Raises NotFound.
        """
        return self.database.write(experiments.pause, id)

    def resume_experiment(self, id: str) -> ExperimentRecord:
        """Lets a paused experiment go on; changes nothing if it is not. Repeatable. Raises NotFound."""
        return self.database.write(experiments.resume, id)

    def get_run(self, experiment: str, index: int) -> RunRecord:
        """One run. Raises NotFound."""
        return self.database.read(runs.get, experiment, index)

    def list_runs(
        self, experiment: str, where: Sequence[Comparison] = (), *, limit: int, after: int = -1
    ) -> list[RunRecord]:
        """Runs by index.

        Args:
            experiment: The experiment's id.
            where: Conditions on state, index, parameterization, hidden_layers, width, activation,
                base_learning_rate, seed, pack, and the values of `Summary`. A comparison with a value that
                the run has not got is false.
            limit: Most records.
            after: Only greater indices.

        Raises:
            NotFound: There is no such experiment.
            ValueError: A condition on another field.
        """
        return self.database.read(runs.listing, experiment, where, limit, after)

    def run_indices(self, experiment: str, where: Sequence[Comparison]) -> frozenset[int]:
        """Indices of the runs that `list_runs` would give. Raises as it does."""
        return self.database.read(runs.indices, experiment, where)

    def cancel_run(self, experiment: str, index: int) -> RunRecord:
        """Asks one run to stop; a queued one is cancelled now. Repeatable. Raises NotFound."""
        return self.database.write(runs.cancel, experiment, index)

    def attempts(self, experiment: str, index: int) -> list[AttemptRecord]:
        """The attempts at a run, oldest first. Raises NotFound."""
        return self.database.read(runs.list_attempts, experiment, index)

    def segments(
        self,
        experiment: str,
        *,
        packs: Collection[str] | None,
        first_step: int,
        last_step: int | None,
        after: int = 0,
    ) -> Iterator[SegmentRecord]:
        """Metric segments by pack and first step, read a few at a time; no transaction is held in between.

        Args:
            experiment: The experiment's id.
            packs: Only these, and those that they are parts of (`split_pack`); None: all.
            first_step: Segments that may hold points of this step or later.
            last_step: Segments that may hold points of this step or earlier; None: to the end.
            after: Only segments with a greater id, which are those committed later.

        Raises:
            NotFound: There is no such experiment.
        """
        steps = first_step, last_step
        place: tuple[str, int] | None = None
        while True:
            batch = self.database.read(
                runs.list_segments, experiment, packs, steps, after, place, SEGMENTS_AT_ONCE
            )
            yield from batch
            if len(batch) < SEGMENTS_AT_ONCE:
                return
            place = (batch[-1].pack, batch[-1].first_step)

    def artifacts(self, experiment: str, index: int) -> list[ArtifactRecord]:
        """The files of a run by path. Raises NotFound if there is no such run."""
        return self.database.read(runs.list_artifacts, experiment, index)

    def get_artifact(self, experiment: str, index: int, path: str) -> ArtifactRecord:
        """One file of a run. Raises NotFound."""
        return self.database.read(runs.get_artifact, experiment, index, path)

    def events(self, experiment: str, *, after: int, limit: int) -> list[EventRecord]:
        """Events with a greater number than `after`, in order. Raises NotFound."""
        return self.database.read(events.listing, experiment, after, limit)

    def heads(self, experiments: Collection[str]) -> dict[str, int]:
        """Number of the newest event of each experiment that exists."""
        return self.database.read(events.heads, experiments)

    # What a dispatcher does. Times to live are in seconds.

    def lease_unplanned(self, owner: str, ttl: float) -> tuple[ExperimentRecord, list[RunRecord]] | None:
        """An experiment to plan, with its queued runs: highest priority, then oldest; None: there is none.

        Runs that are in packs already, by a planner that did not come to its end, are left out.
        """
        if not self.database.read(planning.unplanned):
            return None  # mostly: nobody has to wait for this
        found = self.database.write(planning.lease, owner, ttl)
        return None if found is None else self.database.read(planning.unpacked, found)

    def packs_saved(self, experiment: str) -> int:
        """How many packs an experiment has, also while it is planned: the next ones need other ids."""
        return self.database.read(planning.saved, experiment)

    def save_plan(self, experiment: str, owner: str, packs: Sequence[NewPack], ttl: float = 15.0) -> None:
        """Makes a leased experiment's packs, once and for ever. Runs cancelled in the meantime stay out.

        A large plan is saved in several transactions, so that commits come in between. It counts, and runs
        show their packs, when all of it is there; if the planner dies before, the next plans what is left.

        Args:
            experiment: The experiment's id.
            owner: Who leased it.
            packs: Every queued run in exactly one of them.
            ttl: The planning lease ends so long after each part.

        Raises:
            Fenced: It is planned, or leased to somebody else by now.
            ValueError: A queued run is in no pack, or a run is in two.
            NotFound: There is no such experiment.
        """
        self.database.read(planning.check, experiment, owner, packs)
        *first, last = planning.parts(packs)
        for part in first:
            self._watched("plan", planning.save, experiment, owner, part, ttl, False)
        self._watched("plan", planning.save, experiment, owner, last, ttl, True)

    def refuse_plan(self, experiment: str, owner: str, failure: Failure) -> None:
        """Ends a leased experiment that cannot be planned: its queued runs are FAILED.

        Raises:
            Fenced: It is planned, or leased to somebody else by now.
            NotFound: There is no such experiment.
        """
        self.database.write(planning.refuse, experiment, owner, failure)

    def waiting(self, limit: int = 100) -> list[ExperimentRecord]:
        """Experiments with packs that wait for a worker, by priority and age; paused ones do not wait."""
        return self.database.read(leases.waiting, limit)

    def board(self, cluster: str) -> Board:
        """Who holds what of a cluster, and what waits."""
        return self.database.read(board.look, cluster)

    def place(self, cluster: str, owner: str, ttl: float, decide: Callable[[Board], Move]) -> Moved:
        """Decide about the board as it is, and do it, in one transaction: dispatchers do so one by one.

        Args:
            cluster: Whose board.
            owner: Who will train what is leased by it.
            ttl: A lease ends then, unless it is renewed.
            decide: What is to be done; it may be asked several times. Room is made first: while a decision
                says who makes room, what it says of a start is left for the next call.
        """
        return self._watched("lease", board.place, cluster, owner, ttl, decide)

    def lie(self, experiment: str, pack: str, token: int, node: str) -> None:
        """Records on which node a leased pack lies, if the token is current."""
        self.database.write(board.lie, experiment, pack, token, node)

    def lease_pack(self, experiment: str, owner: str, ttl: float) -> LeasedPack | None:
        """The experiment's next pack to train, under a new token; its runs are RUNNING from now on.

        Args:
            experiment: The experiment's id.
            owner: Who will train it.
            ttl: The lease ends then, unless it is renewed.

        Returns:
            The first by id of those that wait; None if there is none (any more), or the experiment pauses.

        Raises:
            NotFound: There is no such experiment.
        """
        return self._watched("lease", leases.lease, experiment, owner, ttl)

    def renew(self, held: Collection[tuple[str, str, int]], ttl: float) -> set[tuple[str, str, int]]:
        """Extends leases.

        Args:
            held: (experiment, pack, token) of packs in the caller's hands. A lease that its holder does not
                know of (because the answer to `lease_pack` was lost) must run out, so only these are renewed.
            ttl: The leases end then.

        Returns:
            Those that are still held.
        """
        return self.database.write(leases.renew, held, ttl)

    def unwanted(self, held: Collection[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
        """Which of these (experiment, pack, token) should not be trained now: paused, or all to be cancelled.

        For packs that wait for resources; those that train are told by their commits.
        """
        return self.database.read(leases.unwanted, held)

    def commit_slice(self, experiment: str, pack: str, token: int, commit: SliceCommit) -> CommitResult:
        """Records a slice: metrics, summaries, files, progress and ends of runs, or nothing of it.

        What the slice says about runs that are terminal already is ignored. A run whose cancellation was
        asked for becomes CANCELLED, whatever the slice says.

        Raises:
            Fenced: The token is not current, or the slice does not follow the committed step. After a
                `StoreUnavailable` this may mean that the first try had been committed.
            DatasetChanged: It was trained on other numbers than the experiment's first slice.
            ValueError: The slice contradicts itself or the pack.
            NotFound: There is no such experiment.
        """
        return self._watched("commit", commits.commit_slice, experiment, pack, token, commit)

    def settle(
        self, experiment: str, pack: str, token: int, checkpoint: CheckpointRecord | None = None
    ) -> CommitResult:
        """What a commit does without a new step: runs that were asked to stop are CANCELLED. Repeatable.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            checkpoint: One that was written meanwhile, at a step that may be less than the committed one.

        Raises:
            Fenced: The token is not current.
            NotFound: There is no such experiment.
        """
        return self.database.write(commits.settle, experiment, pack, token, checkpoint)

    def end_attempt(
        self, experiment: str, pack: str, token: int, *, failure: Failure | None, retry: bool
    ) -> None:
        """Gives a pack back before its end. Does nothing if this token's last commit has ended the pack.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: Why, if something failed.
            retry: Whether the pack is to be leased again. If not, its unfinished runs are FAILED.

        Raises:
            Fenced: The token is not current.
            ValueError: Neither a retry nor a failure, though runs are left.
            NotFound: There is no such experiment.
        """
        self._watched("end", leases.end_attempt, experiment, pack, token, failure, retry)

    def split_pack(self, experiment: str, pack: str, token: int, *, failure: Failure) -> None:
        """Ends an attempt for good; the runs that are left to train go on in two packs of half of them.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: Why.

        Raises:
            Fenced: The token is not current.
            ValueError: Fewer than two runs are left.
            NotFound: There is no such experiment.
        """
        self._watched("end", splitting.split, experiment, pack, token, failure)

    def reap_expired(self) -> int:
        """Takes back all packs whose lease has expired, to be leased again; returns how many."""
        return self.database.write(leases.reap)

    def unplaceable_due(self, impossible: Collection[str], timeout: float) -> list[tuple[str, str]]:
        """Some waiting experiments, with their shapes, for which `unplaceable` has something to do.

        Args:
            impossible: Shapes that no node can hold.
            timeout: As for `unplaceable`.
        """
        return self.database.read(unplaceable.overdue, impossible, timeout)

    def placeable_again(self, impossible: Collection[str]) -> list[str]:
        """Some waiting experiments of other shapes than these that no node could hold when last looked at."""
        return self.database.read(unplaceable.again, impossible)

    def unplaceable(self, experiment: str, timeout: float, failure: Failure) -> int:
        """Takes note that no node can hold the experiment's waiting packs. Repeatable.

        Args:
            experiment: The experiment's id.
            timeout: Seconds since this was first noted after which its queued runs are FAILED.
            failure: Why, if they are.

        Returns:
            How many packs have ended.

        Raises:
            NotFound: There is no such experiment.
        """
        return self.database.write(unplaceable.unplaceable, experiment, timeout, failure)

    def placeable(self, experiment: str) -> None:
        """Takes note that a node can hold the experiment's packs (again). Raises NotFound."""
        self.database.write(unplaceable.placeable, experiment)

    def unswept(self, quiet_seconds: float, limit: int) -> list[EndedPack]:
        """Ended packs whose leftover files have not been removed yet.

        Args:
            quiet_seconds: Only packs whose last attempt ended so long ago: a worker that was cut off may go
                on writing for a while.
            limit: Most packs.
        """
        if self.database.read(sweeping.any_ahead):
            self.database.write(sweeping.bring_back)
        return self.database.read(sweeping.unswept, quiet_seconds, limit)

    def mark_swept(self, experiment: str, pack: str) -> None:
        """Records that of an ended pack only the files that count are left. Repeatable. Raises NotFound."""
        self.database.write(sweeping.mark_swept, experiment, pack)

    def notice(self, experiment: str, message: str) -> None:
        """Adds a message for people to the events. Raises NotFound."""
        self.database.write(events.notice, experiment, message)

    def save_capacity(self, report: CapacityReport) -> None:
        """Replaces the report on the cluster; the time is the store's."""
        self.database.write(capacity.save, report)

    def capacity(self) -> CapacityReport | None:
        """The newest report on the cluster, if there is one."""
        return self.database.read(capacity.load)

    def idle(self) -> bool:
        """Whether there is nothing to plan, to train or in training; what is paused is nothing."""
        return self.database.read(planning.idle)

    # What the forwarder does.

    def acquire_lease(self, name: str, owner: str, ttl: float) -> bool:
        """Takes or renews the lease `name`, of which there is one; False if somebody else holds it."""
        return self.database.write(forwarding.acquire_lease, name, owner, ttl)

    def release_lease(self, name: str, owner: str) -> None:
        """Gives the lease `name` back if `owner` holds it."""
        self.database.write(forwarding.release_lease, name, owner)

    def forward_tasks(
        self,
        limit: int,
        *,
        after: str = "",
        exclude: Collection[tuple[str, int]] = (),
        exclude_experiments: Collection[str] = (),
        interval: float = 0.0,
    ) -> list[ForwardTask]:
        """Runs with something that MLflow does not hold.

        A few experiments share the tasks evenly, and of each come first the runs that have waited longest.
        The cost does not grow with the number of runs or experiments that wait.

        Args:
            limit: Most tasks.
            after: Begin with the experiment whose id follows this one; those up to it come last.
            exclude: (experiment, index) not wanted now.
            exclude_experiments: Experiments of which nothing is wanted now.
            interval: A run that trains and is in MLflow is not wanted until its oldest news has waited for so
                many seconds.
        """
        return self.database.read(
            forwarding.tasks, limit, after, exclude, frozenset(exclude_experiments), interval
        )

    def mark_forwarded(self, sent: Sequence[Forwarded]) -> list[Forwarded]:
        """Records what MLflow holds, in one transaction. Repeatable; marks never go back.

        The first one to record a run's id in MLflow is believed. If a run is to be sent again (`resend`),
        what was sent of it before does not count.

        Args:
            sent: Each run at most once.

        Returns:
            Those that have another id in MLflow by now, of which nothing was recorded.

        Raises:
            NotFound: There is no such run.
        """
        return self._watched("mark", forwarding.mark, sent)

    # Whose artifacts are whose.

    def identity(self) -> Identity:
        """Which store this is."""
        return self.database.write(identity.get)

    def claim_artifacts(self, artifact_root: str) -> Identity:
        """Say where artifacts lie; the first one to say so is believed. Repeatable.

        Args:
            artifact_root: URL of the artifact root, never empty.

        Returns:
            What holds from now on; another root: somebody was first.
        """
        return self.database.write(identity.claim, artifact_root)

    def resend(self) -> int:
        """Forget what MLflow holds, so that all is sent again. A transaction per experiment; repeatable.

        Returns:
            How many runs had been sent, in part at least.
        """
        experiments = self.database.read(forwarding.known_experiments)
        return sum(self.database.write(forwarding.resend, experiment) for experiment in experiments)

    # What `ipserver doctor` and `ipserver backup` ask.

    def named_files(self) -> list[NamedFile]:
        """Every checkpoint, oldest first, and every artifact: all that is read from the artifact root."""
        return self.database.read(files.named)

    def now(self) -> float:
        """The store's clock, by which leases are judged: seconds since 1970-01-01 UTC."""
        return self.database.read(Transaction.now)

    def newest_time(self) -> float | None:
        """The latest of the times that the store holds; one ahead of `now` was written by a wrong clock."""
        return self.database.read(clocks.newest)

    def prove_writable(self) -> None:
        """Commit a write that changes nothing."""
        self.database.write(identity.rewrite)

    def damage(self) -> tuple[str, ...]:
        """What is wrong with the database's pages, indexes and references; on PostgreSQL always nothing."""
        return self.database.read(damage)
