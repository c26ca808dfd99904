"""Random mixes of pack sizes and priorities on a real Ray: fitting packs start soon, the most urgent first.

Ray and the dispatchers run in a network namespace that has only loopback. Submission and observation go
through the store. The test stops by itself.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from ipserver.request.resources import ResourceRequest
from ipserver.store import Store, migrate, open_store
from ipserver.store.records.board import Board, Claim
from ipserver.store.states import ExperimentState, RunState
from ipserver.store.tables import packs
from tests.faults.lab import RELAY, loopback_only, wait_for
from tests.faults.processes import end_marked
from tests.faults.running import Unavailable, new_database
from tests.ipserver.support import small_spec, submit
from tests.watching import Watch

NODE = {"cpus": 2.0, "disk": 1.0}
SIZES = [{"cpus": 1}, {"cpus": 1}, {"cpus": 2}, {"cpus": 0.5}, {"cpus": 1, "custom": {"disk": 1}}]
PRIORITIES = [0, 0, 0, 0, 1, 2, 5]
STEPS = [20, 200, 2000, 8000]
# Two passes of a dispatcher take 0.4 s on an idle machine; this is for a busy one.
PATIENCE_SECONDS = 10.0
# From a lease to the first step: a process may load torch and wait for the end of another process.
FIRST_STEP_SECONDS = 90.0
QUIET_SECONDS = 300.0
MEAN_GAP_SECONDS = 4.0
# Largest number of waiting packs, so that all end soon after the last submission.
MOST_WAITING = 12


@dataclass
class Seen:
    """The observations so far.

    Attributes:
        watch: Checks the promises.
        claims: Leases, with the time at which each was first seen.
        first_steps: Seconds from lease to first step of each pack that started from step 0.
    """

    watch: Watch
    claims: dict[tuple[str, str, int], float] = field(default_factory=dict)
    first_steps: list[float] = field(default_factory=list)
    began: set[tuple[str, str, int]] = field(default_factory=set)

    def look(self, store: Store, board: Board, now: float) -> None:
        """Take a picture of the store; AssertionError if a promise is broken."""
        new = [claim for claim in board.claims if claim.lease not in self.claims]
        self.claims = {claim.lease: self.claims.get(claim.lease, now) for claim in board.claims}
        taken: dict[str, list[ResourceRequest]] = {"node": []}
        for claim in board.claims:
            taken["node"].append(ResourceRequest.of(claim.shape))
        self.watch.look(now, taken, board.queued, {claim.experiment: "node" for claim in new})
        self._first_steps(store, board.claims, now)

    def _first_steps(self, store: Store, claims: Sequence[Claim], now: float) -> None:
        for claim in claims:
            if claim.lease in self.began:
                continue
            waited = now - self.claims[claim.lease]
            if store.get_experiment(claim.experiment).committed_steps:
                self.began.add(claim.lease)
                self.first_steps.append(waited)
            assert waited <= FIRST_STEP_SECONDS, f"{claim} has not trained a step in {waited:.0f} s"


def run(minutes: float, dispatchers: int, seed: int, kind: str) -> None:
    """Run the test and print the observations; AssertionError if a promise is broken.

    Args:
        minutes: Time during which experiments are submitted.
        dispatchers: Number of dispatchers that share the Ray.
        seed: Seed of sizes, priorities, lengths and times.
        kind: "sqlite" or "postgresql".
    """
    print(f"seed {seed}, {dispatchers} dispatchers, {kind}, {minutes:g} minutes", flush=True)
    draw, names = random.Random(seed), []
    with _service(dispatchers, kind) as (store, told):
        cluster = _cluster(store, told)
        seen, begin = Seen(Watch({"node": NODE}, PATIENCE_SECONDS)), time.monotonic()
        end, due = begin + 60 * minutes, begin
        while (now := time.monotonic()) < end + QUIET_SECONDS:
            board = store.board(cluster)
            seen.look(store, board, now - begin)
            if now >= end and not board.claims and not board.queued:
                break
            if due <= now < end and len(board.queued) < MOST_WAITING:
                due = now + draw.expovariate(1 / MEAN_GAP_SECONDS)
                names.append(_submit(store, draw, len(names)))
                if draw.random() < 0.1:
                    _disturb(store, draw, names)
            time.sleep(0.1)
        for name in names:
            store.resume_experiment(name)
        wait_for(lambda: _all_ended(store, names), QUIET_SECONDS, told)
        _tell(store, names, seen)


def _submit(store: Store, draw: random.Random, number: int) -> str:
    grid = {"parameterizations": [{"preset": "mup"}], "seeds": [0, 1], "widths": [draw.choice([16, 64])]}
    spec = small_spec(resources=draw.choice(SIZES), steps=draw.choice(STEPS), grid=grid)
    name = f"m{number:04d}"
    submit(store, spec, name, priority=draw.choice(PRIORITIES))
    return name


def _disturb(store: Store, draw: random.Random, names: Sequence[str]) -> None:
    """Actions of users meanwhile."""
    name = draw.choice(names[-10:])
    draw.choice([store.cancel_experiment, store.pause_experiment])(name)
    store.resume_experiment(draw.choice(names))


def _all_ended(store: Store, names: Sequence[str]) -> bool:
    return all(store.get_experiment(name).state.terminal for name in names)


def _tell(store: Store, names: Sequence[str], seen: Seen) -> None:
    records = [store.get_experiment(name) for name in names]
    states = collections.Counter(record.state for record in records)
    failed = sum(record.counts.get(RunState.FAILED, 0) for record in records)
    expected = {ExperimentState.SUCCEEDED, ExperimentState.CANCELLED}
    assert set(states) <= expected and not failed, f"some failed: {dict(states)}"
    first = sorted(seen.first_steps)
    print(
        f"{len(names)} experiments: {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}; "
        f"first step after {first[len(first) // 2]:.1f} s (median), {first[-1]:.1f} s (longest); "
        f"longest wait beside free resources {seen.watch.longest:.1f} s\n"
        "nothing was stuck; what fitted started, the most urgent first",
        flush=True,
    )


def _cluster(store: Store, told: Callable[[], str]) -> str:
    """The name of the cluster, from the lease of the first pack."""
    submit(store, small_spec(steps=2000), "first")
    found: set[str] = set()

    def there() -> bool:
        with store.database.engine.connect() as connection:
            found.update(
                connection.execute(sa.select(packs.c.cluster).where(packs.c.cluster != "")).scalars()
            )
        return bool(found)

    wait_for(there, 180.0, told)
    return found.pop()


@contextmanager
def _service(dispatchers: int, kind: str) -> Iterator[tuple[Store, Callable[[], str]]]:
    """A Ray of two cores with dispatchers, its store, and a function that returns the ends of the logs."""
    namespace, reason = loopback_only()
    if not namespace:
        raise Unavailable(f"Ray needs a network of its own: {reason}")
    with tempfile.TemporaryDirectory(prefix="mx", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "home").mkdir()
        with new_database(kind, folder) as (dsn, server):
            migrate(dsn)
            command = [*namespace, sys.executable, "-m", "tests.faults.mixes", str(dispatchers), name]
            relay = None
            if server:
                (folder / "pg").mkdir()
                relay = subprocess.Popen(
                    [sys.executable, RELAY, f"unix:{folder}/pg/.s.PGSQL.5432", f"tcp:{server}"]
                )
            log = (folder / "log").open("wb")
            environment = _environment(folder, dsn, bool(server))
            inside = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

            def told() -> str:
                return (folder / "log").read_text(errors="replace")[-4000:]

            try:
                with open_store(dsn) as store:
                    wait_for(store.capacity, 240.0, told)
                    yield store, told
            except BaseException:
                print(told())
                raise
            finally:
                inside.send_signal(signal.SIGTERM)
                try:
                    inside.wait(60)
                except subprocess.TimeoutExpired:
                    inside.kill()
                end_marked(f"IPLAB_HOME={folder / 'home'}")
                if relay is not None:
                    relay.kill()
                    relay.wait()
                log.close()


def _environment(folder: Path, dsn: str, relayed: bool) -> Mapping[str, str]:
    url = sa.make_url(dsn)
    if relayed:
        query = {**url.query, "host": f"{folder}/pg", "port": "5432"}
        url = url.set(host=None, port=None, query=query)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("IPLAB_")}
    return clean | {
        "IPLAB_HOME": str(folder / "home"),
        "IPLAB_STORE": url.render_as_string(hide_password=False),
        "IPLAB_SLICE_SECONDS": "0.2",
        "IPLAB_WAIT_SECONDS": "120",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
    }


def _inside(dispatchers: int, folder: Path) -> None:
    """In the namespace: Ray, and the dispatchers that join it, until SIGTERM."""
    port = 6379
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGTERM, end)
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}", "--num-cpus=2"]
    ray += [
        "--include-dashboard=false",
        "--disable-usage-stats",
        "--object-store-memory=100000000",
        "--block",
    ]
    ray += ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}/ray", '--resources={"disk": 1}']
    dispatch = [sys.executable, "-m", "ipserver", "dispatch"]
    address = {"IPLAB_RAY_ADDRESS": f"127.0.0.1:{port}"}
    processes = [subprocess.Popen(ray)]
    processes += [subprocess.Popen(dispatch, env=os.environ | address) for _ in range(dispatchers)]
    while not stop and all(process.poll() is None for process in processes):
        time.sleep(0.2)
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.wait(40)


if __name__ == "__main__":
    _inside(int(sys.argv[1]), Path(sys.argv[2]))
