"""The store's interface to the other parts of the service."""

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
    extending,
    files,
    forwarding,
    identity,
    leases,
    planning,
    runs,
    splitting,
    studies,
    sweeping,
    unplaceable,
)
from ipserver.store.accounts import Accounts
from ipserver.store.database import Database, Transaction, damage
from ipserver.store.records import (
    ALL,
    ArtifactRecord,
    AttemptRecord,
    Board,
    CapacityReport,
    CheckpointRecord,
    CommitResult,
    EndedPack,
    EventRecord,
    ExperimentRecord,
    Extension,
    Failure,
    Filter,
    Forwarded,
    ForwardTask,
    Identity,
    LeasedPack,
    Move,
    Moved,
    NamedFile,
    NewExperiment,
    NewPack,
    NewRound,
    NewRun,
    NewStudy,
    RunRecord,
    SegmentRecord,
    SliceCommit,
    StudyOutcome,
    StudyRecord,
)
from ipserver.store.states import StudyState

SEGMENTS_AT_ONCE = 16

P = ParamSpec("P")
T = TypeVar("T")


def open_store(dsn: str, *, clock: Callable[[], float] | None = None) -> Store:
    """A store on the database at `dsn`. It connects on first use.

    Args:
        dsn: "sqlite:////absolute/path/iplab.db" or "postgresql+psycopg://user:password@host:5432/database".
        clock: Returns seconds since 1970-01-01 UTC; replaces the database's clock in tests.

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
    method may raise `StoreUnavailable`; a write may then have been committed or not. Methods documented as
    repeatable can be called again.

    Attributes:
        database: The underlying database.
        accounts: Projects, roles and tokens.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts = Accounts(database)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def _watched(
        self, point: str, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a write with failpoints before, during and after its transaction."""
        with failpoints.around(point):
            return self.database.write(failpoints.then(work, f"{point}.during"), *args, **kwargs)

    # Methods for the API.

    def create_experiment(
        self, new: NewExperiment, runs: Sequence[NewRun], study: tuple[str, int] | None = None
    ) -> ExperimentRecord:
        """Accept an experiment with all its runs. Repeatable if it has a request id.

        Args:
            new: The experiment. If its request id was used with the same hash, the existing one is returned.
            runs: At least one, with distinct indices.
            study: Id and token of the study that asks for it; None: a user does.

        Raises:
            Fenced: The study's token is not current, or it is being cancelled.
            RequestIdReused: The request id was used with another hash.
            AlreadyExists: The id is taken.
        """
        return self._watched("create", experiments.create, new, runs, study)

    def find_request(self, request_id: str, request_hash: str) -> ExperimentRecord | None:
        """The experiment that a request created, or None.

        Raises:
            RequestIdReused: The request id was used with another hash.
        """
        return self.database.read(experiments.find_request, request_id, request_hash)

    def extend_experiment(
        self, id: str, extension: Extension, study: tuple[str, int] | None = None
    ) -> ExperimentRecord | None:
        """Add runs to an experiment. Repeatable if it has a request id.

        Args:
            id: The experiment's id.
            extension: The new runs.
            study: Id and token of the study that asks for them; None: a user does.

        Returns:
            The experiment; None, with nothing added, if its spec is not the one that the extension extends.

        Raises:
            RequestIdReused: The request id was used with another hash.
            InvalidRequest: The experiment was cancelled. The violation names the field "name".
            Fenced: The study's token is not current, or it is being cancelled.
            NotFound: There is no such experiment.
        """
        return self._watched("extend", extending.extend, id, extension, study)

    def find_extension(self, request_id: str, request_hash: str) -> ExperimentRecord | None:
        """The experiment that a request extended, or None.

        Raises:
            RequestIdReused: The request id was used with another hash.
        """
        return self.database.read(extending.find_request, request_id, request_hash)

    def get_experiment(self, id: str) -> ExperimentRecord:
        """One experiment. Raises NotFound."""
        return self.database.read(experiments.get, id)

    def list_experiments(
        self, where: Filter = ALL, *, limit: int, before: tuple[float, str] | None = None
    ) -> list[ExperimentRecord]:
        """Experiments, newest first.

        Args:
            where: Condition on state, experiment, priority, project, owner, labels.KEY.
            limit: Most records.
            before: Creation time and id of the last record on the previous page.

        Raises:
            ValueError: A condition on another field.
        """
        return self.database.read(experiments.listing, where, limit, before)

    def cancel_experiment(self, id: str) -> ExperimentRecord:
        """Request all unfinished runs to stop; queued runs are cancelled now. Repeatable. Raises NotFound."""
        return self.database.write(experiments.cancel, id)

    def pause_experiment(self, id: str) -> ExperimentRecord:
        """Pause an experiment until it is resumed. Packs in training are given back at a slice boundary.

        Changes nothing if it has ended or is being cancelled. Repeatable. Raises NotFound.
        """
        return self.database.write(experiments.pause, id)

    def resume_experiment(self, id: str) -> ExperimentRecord:
        """Resume an experiment. Changes nothing if it is not paused. Repeatable. Raises NotFound."""
        return self.database.write(experiments.resume, id)

    def get_run(self, experiment: str, index: int) -> RunRecord:
        """One run. Raises NotFound."""
        return self.database.read(runs.get, experiment, index)

    def list_runs(
        self, experiment: str, where: Filter = ALL, *, limit: int, after: int = -1
    ) -> list[RunRecord]:
        """Runs by index.

        Args:
            experiment: The experiment's id.
            where: Condition on state, index, parameterization, hidden_layers, width, activation,
                base_learning_rate, seed, committed_steps, pack, and the values of `Summary`. A comparison
                with a value that the run does not have is false.
            limit: Most records.
            after: Only runs with a greater index.

        Raises:
            NotFound: There is no such experiment.
            ValueError: A condition on another field.
        """
        return self.database.read(runs.listing, experiment, where, limit, after)

    def run_indices(self, experiment: str, where: Filter) -> frozenset[int]:
        """Indices of the runs that `list_runs` would return. Raises as `list_runs`."""
        return self.database.read(runs.indices, experiment, where)

    def cancel_run(self, experiment: str, index: int) -> RunRecord:
        """Request one run to stop; a queued run is cancelled now. Repeatable. Raises NotFound."""
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
        """Metric segments by pack and first step, read in small transactions.

        Args:
            experiment: The experiment's id.
            packs: Only these packs and those that they were split from (`split_pack`); None: all.
            first_step: Segments that may hold points of this step or later.
            last_step: Segments that may hold points of this step or earlier; None: no limit.
            after: Only segments with a greater id, that is, committed later.

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

    # Methods for studies.

    def create_study(self, new: NewStudy) -> StudyRecord:
        """Accept a study. Repeatable if it has a request id.

        Raises:
            RequestIdReused: The request id was used with another hash.
            AlreadyExists: The id is taken.
        """
        return self._watched("study", studies.create, new)

    def find_study_request(self, request_id: str, request_hash: str) -> StudyRecord | None:
        """The study that a request created, or None. Raises RequestIdReused."""
        return self.database.read(studies.find_request, request_id, request_hash)

    def get_study(self, id: str) -> StudyRecord:
        """One study. Raises NotFound."""
        return self.database.read(studies.get, id)

    def list_studies(
        self,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        projects: Collection[str] | None = None,
    ) -> list[StudyRecord]:
        """Studies, newest first; `before` as for `list_experiments`; `projects`: only those of them."""
        return self.database.read(studies.listing, limit, before, projects)

    def cancel_study(self, id: str) -> StudyRecord:
        """Request a study to end. Changes nothing if it has ended. Repeatable. Raises NotFound."""
        return self.database.write(studies.cancel, id)

    def delete_study(self, id: str) -> None:
        """Delete the record of an ended study; its experiments stay.

        Raises:
            InvalidRequest: It has not ended. The violation names the field "name".
            NotFound: There is no such study.
        """
        self.database.write(studies.delete, id)

    def lease_studies(self, owner: str, ttl: float) -> list[StudyRecord]:
        """All unfinished studies that the owner holds from now on, for `ttl` seconds, each under its token.

        Studies that another owner holds are left out. A new owner gets a new token.
        """
        if not self.database.read(studies.unfinished):
            return []  # the usual case takes no write transaction
        return self.database.write(studies.lease, owner, ttl)

    def abandoned_studies(self, seconds: float) -> list[str]:
        """Ids of unfinished studies that nobody has held for so long."""
        return self.database.read(studies.abandoned, seconds)

    def begin_round(self, study: str, token: int, new: NewRound, outcome: StudyOutcome) -> StudyRecord:
        """Write a round down with its actions, before any is taken, and what the last one has taught.

        Raises:
            Fenced: The token is not current, or the study is being cancelled or has ended.
        """
        return self._watched("round", studies.begin_round, study, token, new, outcome)

    def end_actions(self, study: str, token: int, number: int) -> StudyRecord:
        """Write down that all actions of a round were taken. Repeatable.

        Raises:
            Fenced: The token is not current, or the study has ended.
        """
        return self._watched("asked", studies.end_actions, study, token, number)

    def finish_study(self, study: str, token: int, state: StudyState, outcome: StudyOutcome) -> StudyRecord:
        """End a study.

        Raises:
            Fenced: The token is not current, it has ended, or it is being cancelled and would end otherwise.
        """
        return self._watched("verdict", studies.finish, study, token, state, outcome)

    def pack_seconds(self, experiment: str) -> dict[str, tuple[float, int]]:
        """Seconds that attempts at each pack have taken in all, and number of its runs."""
        return self.database.read(studies.seconds, experiment)

    # Methods for dispatchers. Times to live are in seconds.

    def lease_unplanned(self, owner: str, ttl: float) -> tuple[ExperimentRecord, list[RunRecord]] | None:
        """Lease an experiment to plan, highest priority first, then oldest; None if there is none.

        Returns it with its queued runs. Runs that an interrupted planner has put into packs are left out.
        """
        if not self.database.read(planning.unplanned):
            return None  # the usual case takes no write transaction
        found = self.database.write(planning.lease, owner, ttl)
        return None if found is None else self.database.read(planning.unpacked, found)

    def packs_saved(self, experiment: str) -> int:
        """Number of an experiment's packs, also while it is being planned; new packs need other ids."""
        return self.database.read(planning.saved, experiment)

    def save_plan(self, experiment: str, owner: str, packs: Sequence[NewPack], ttl: float = 15.0) -> None:
        """Save a leased experiment's packs, which never change. Runs cancelled in the meantime are left out.

        A large plan is saved in several transactions, so that commits can run in between. It takes effect,
        and runs show their packs, when it is complete. If the planner dies earlier, the next one plans the
        rest.

        Args:
            experiment: The experiment's id.
            owner: Name of the lease's holder.
            packs: Packs with every queued run in exactly one of them.
            ttl: Length of the planning lease, renewed with each part.

        Raises:
            Fenced: The experiment is already planned, or leased to another dispatcher.
            ValueError: A queued run is in no pack, or a run is in two.
            NotFound: There is no such experiment.
        """
        self.database.read(planning.check, experiment, owner, packs)
        *first, last = planning.parts(packs)
        for part in first:
            self._watched("plan", planning.save, experiment, owner, part, ttl, False)
        self._watched("plan", planning.save, experiment, owner, last, ttl, True)

    def refuse_plan(self, experiment: str, owner: str, failure: Failure) -> None:
        """End a leased experiment that cannot be planned: its queued runs are FAILED.

        Raises:
            Fenced: The experiment is already planned, or leased to another dispatcher.
            NotFound: There is no such experiment.
        """
        self.database.write(planning.refuse, experiment, owner, failure)

    def waiting(self, limit: int = 100) -> list[ExperimentRecord]:
        """Experiments with packs that wait for a worker, by priority and age; paused ones are left out."""
        return self.database.read(leases.waiting, limit)

    def board(self, cluster: str) -> Board:
        """Leased and waiting packs of a cluster."""
        return self.database.read(board.look, cluster)

    def place(self, cluster: str, owner: str, ttl: float, decide: Callable[[Board], Move]) -> Moved:
        """Read the board, decide, and apply the decision in one transaction; dispatchers take turns.

        Args:
            cluster: The cluster whose board is read.
            owner: The dispatcher that will train the leased pack.
            ttl: Length of the lease.
            decide: Makes the decision; may be called several times. If the decision marks packs to make
                room, only that is applied, and a start is left for the next call.
        """
        return self._watched("lease", board.place, cluster, owner, ttl, decide)

    def lie(self, experiment: str, pack: str, token: int, node: str) -> None:
        """Record the node of a leased pack if the token is current."""
        self.database.write(board.lie, experiment, pack, token, node)

    def lease_pack(self, experiment: str, owner: str, ttl: float) -> LeasedPack | None:
        """The experiment's next pack to train, under a new token; its runs are RUNNING from now on.

        Args:
            experiment: The experiment's id.
            owner: The dispatcher that will train it.
            ttl: Length of the lease.

        Returns:
            The first waiting pack by id; None if no pack waits (any more) or the experiment is paused.

        Raises:
            NotFound: There is no such experiment.
        """
        return self._watched("lease", leases.lease, experiment, owner, ttl)

    def renew(self, held: Collection[tuple[str, str, int]], ttl: float) -> set[tuple[str, str, int]]:
        """Renew leases.

        Args:
            held: (experiment, pack, token) of the caller's packs. Only these are renewed: a lease that its
                holder does not know of, because the answer to `lease_pack` was lost, must expire.
            ttl: New length of the leases, from now.

        Returns:
            The leases that are still held.
        """
        return self.database.write(leases.renew, held, ttl)

    def unwanted(self, held: Collection[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
        """Those of the given (experiment, pack, token) that should not be trained: paused or cancelled.

        This is for packs that wait for resources. Packs in training learn it from their commits' results.
        """
        return self.database.read(leases.unwanted, held)

    def commit_slice(self, experiment: str, pack: str, token: int, commit: SliceCommit) -> CommitResult:
        """Commit a slice (metrics, summaries, files, progress and ends of runs) as a whole.

        Data of runs that are already terminal are ignored. A run whose cancellation was requested becomes
        CANCELLED, whatever the slice says.

        Raises:
            Fenced: The token is not current, or the slice does not follow the committed step. After a
                `StoreUnavailable` this may mean that the first attempt was committed.
            DatasetChanged: Its dataset differs from that of the experiment's first slice.
            ValueError: The slice contradicts itself or the pack.
            NotFound: There is no such experiment.
        """
        return self._watched("commit", commits.commit_slice, experiment, pack, token, commit)

    def settle(
        self, experiment: str, pack: str, token: int, checkpoint: CheckpointRecord | None = None
    ) -> CommitResult:
        """Commit without a new step: runs that were requested to stop become CANCELLED. Repeatable.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            checkpoint: A checkpoint written meanwhile; its step may be less than the committed one.

        Raises:
            Fenced: The token is not current.
            NotFound: There is no such experiment.
        """
        return self.database.write(commits.settle, experiment, pack, token, checkpoint)

    def end_attempt(
        self, experiment: str, pack: str, token: int, *, failure: Failure | None, retry: bool
    ) -> None:
        """End an attempt before its pack's end. Does nothing if this token's last commit ended the pack.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: The failure, if there was one.
            retry: Whether the pack may be leased again. If not, its unfinished runs are FAILED.

        Raises:
            Fenced: The token is not current.
            ValueError: Runs are left, but neither a retry nor a failure is given.
            NotFound: There is no such experiment.
        """
        self._watched("end", leases.end_attempt, experiment, pack, token, failure, retry)

    def split_pack(self, experiment: str, pack: str, token: int, *, failure: Failure) -> None:
        """End an attempt and its pack; the runs left to train continue in two packs of half the size.

        Args:
            experiment: The experiment's id.
            pack: The pack's id.
            token: The current token.
            failure: The failure of the attempt.

        Raises:
            Fenced: The token is not current.
            ValueError: Fewer than two runs are left.
            NotFound: There is no such experiment.
        """
        self._watched("end", splitting.split, experiment, pack, token, failure)

    def reap_expired(self) -> int:
        """Make all packs whose lease has expired wait again; return their number."""
        return self.database.write(leases.reap)

    def unplaceable_due(self, impossible: Collection[str], timeout: float) -> list[tuple[str, str]]:
        """Some waiting experiments, with their shapes, for which `unplaceable` should be called.

        Args:
            impossible: Shapes that no node can hold.
            timeout: As for `unplaceable`.
        """
        return self.database.read(unplaceable.overdue, impossible, timeout)

    def placeable_again(self, impossible: Collection[str]) -> list[str]:
        """Some waiting experiments recorded as unplaceable whose shape is not among `impossible`."""
        return self.database.read(unplaceable.again, impossible)

    def unplaceable(self, experiment: str, timeout: float, failure: Failure) -> int:
        """Record that no node can hold the experiment's waiting packs. Repeatable.

        Args:
            experiment: The experiment's id.
            timeout: Seconds after the first record until its queued runs are FAILED.
            failure: The failure of these runs.

        Returns:
            Number of packs that have ended.

        Raises:
            NotFound: There is no such experiment.
        """
        return self.database.write(unplaceable.unplaceable, experiment, timeout, failure)

    def placeable(self, experiment: str) -> None:
        """Record that a node can hold the experiment's packs (again). Raises NotFound."""
        self.database.write(unplaceable.placeable, experiment)

    def unswept(self, quiet_seconds: float, limit: int) -> list[EndedPack]:
        """Ended packs whose leftover files have not been removed yet.

        Args:
            quiet_seconds: Only packs whose last attempt ended at least this long ago: a worker that was cut
                off may still write for a while.
            limit: Maximum number of packs.
        """
        if self.database.read(sweeping.any_ahead):
            self.database.write(sweeping.bring_back)
        return self.database.read(sweeping.unswept, quiet_seconds, limit)

    def mark_swept(self, experiment: str, pack: str) -> None:
        """Record that an ended pack's leftover files have been removed. Repeatable. Raises NotFound."""
        self.database.write(sweeping.mark_swept, experiment, pack)

    def notice(self, experiment: str, message: str) -> None:
        """Add a message for people to the events. Raises NotFound."""
        self.database.write(events.notice, experiment, message)

    def save_capacity(self, report: CapacityReport) -> None:
        """Replace the report on the cluster. Its time is taken from the store's clock."""
        self.database.write(capacity.save, report)

    def capacity(self) -> CapacityReport | None:
        """The newest report on the cluster, or None."""
        return self.database.read(capacity.load)

    def idle(self) -> bool:
        """Whether nothing waits to be planned or trained and nothing trains, paused experiments aside."""
        return self.database.read(planning.idle)

    # Methods for the forwarder.

    def acquire_lease(self, name: str, owner: str, ttl: float) -> bool:
        """Take or renew the singleton lease `name`; return False if another owner holds it."""
        return self.database.write(forwarding.acquire_lease, name, owner, ttl)

    def release_lease(self, name: str, owner: str) -> None:
        """Release the lease `name` if `owner` holds it."""
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
        """Runs with data that MLflow does not hold yet.

        A few experiments share the tasks evenly. Within each, the runs that have waited longest come first.
        The cost does not grow with the number of waiting runs or experiments.

        Args:
            limit: Maximum number of tasks.
            after: Start with the experiment whose id follows this one; those up to it come last.
            exclude: Runs to leave out, as (experiment, index).
            exclude_experiments: Experiments to leave out.
            interval: Leave out a training run that is in MLflow until its oldest unsent data has waited for
                this many seconds.
        """
        return self.database.read(
            forwarding.tasks, limit, after, exclude, frozenset(exclude_experiments), interval
        )

    def mark_forwarded(self, sent: Sequence[Forwarded]) -> list[Forwarded]:
        """Record what MLflow holds, in one transaction. Repeatable; marks never go back.

        The first recorded MLflow id of a run is kept; later ones are refused. For a run that is to be sent
        again (`resend`), data sent before that do not count.

        Args:
            sent: Each run at most once.

        Returns:
            Those for which another MLflow id is recorded already; nothing was recorded for them.

        Raises:
            NotFound: There is no such run.
        """
        return self._watched("mark", forwarding.mark, sent)

    # Ownership of artifacts.

    def identity(self) -> Identity:
        """The store's identity."""
        return self.database.write(identity.get)

    def claim_artifacts(self, artifact_root: str) -> Identity:
        """Record the artifact root. The first recorded root is kept. Repeatable.

        Args:
            artifact_root: URL of the artifact root, never empty.

        Returns:
            The recorded identity; its root differs from the argument if another root was recorded first.
        """
        return self.database.write(identity.claim, artifact_root)

    def resend(self) -> int:
        """Discard all records of what MLflow holds, so that everything is sent again. Repeatable.

        Uses one transaction per experiment.

        Returns:
            Number of runs that had been sent at least in part.
        """
        experiments = self.database.read(forwarding.known_experiments)
        return sum(self.database.write(forwarding.resend, experiment) for experiment in experiments)

    # Methods for `ipserver doctor` and `ipserver backup`.

    def named_files(self) -> list[NamedFile]:
        """Every file below the artifact root that is read: checkpoints, oldest first, and artifacts."""
        return self.database.read(files.named)

    def now(self) -> float:
        """Time of the store's clock, which decides about leases, in seconds since 1970-01-01 UTC."""
        return self.database.read(Transaction.now)

    def newest_time(self) -> float | None:
        """The latest time in the store; a time ahead of `now` was written by a wrong clock."""
        return self.database.read(clocks.newest)

    def prove_writable(self) -> None:
        """Commit a write that changes nothing."""
        self.database.write(identity.rewrite)

    def damage(self) -> tuple[str, ...]:
        """Defects of the database's pages, indexes and references; always empty on PostgreSQL."""
        return self.database.read(damage)
