"""Random parts are killed at random times. Then the killing stops, and nothing may have been lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ipserver.store.tables import attempts
from tests.faults import checks, scenarios
from tests.faults.processes import kill
from tests.faults.running import running
from tests.faults.scenarios import Scene, submit

RUNS_EACH, INTERVAL = 20, 500
QUIET_SECONDS = 900.0
# Longest time until a dispatcher notices that its Ray is gone.
LEAST_QUIET_SECONDS = 60.0
# Weights of the victims. Those that end the dispatcher are rarer, since nothing trains until it is back.
CHANCES = {
    "trainer": 8,
    "api": 6,
    "forward": 6,
    "mlflow": 3,
    "store": 4,
    "dispatch": 2,
    "dispatch, told to stop": 1,
    "raylet": 1,
    "all of Ray": 1,
}
# Workers are killed so often that on a busy machine a pack may lose more of them in a row, before it commits
# anything, than the default budget. That budget is for packs that end their workers themselves.
SETTINGS = {"IPLAB_MAX_ATTEMPTS": "50", "IPLAB_MAX_ATTEMPTS_LEASE_LOST": "50"}
# Its runs are long, so their slices are too.
SETTINGS |= {"IPLAB_SLICE_SECONDS": "0.05", "IPLAB_CHECKPOINT_SECONDS": "0.15"}
MEAN_GAP_SECONDS, LONGEST_DOWNTIME_SECONDS = 4.0, 8.0


@dataclass(frozen=True)
class Shot:
    """A kill: the victim, the time in seconds from the start, and the downtime."""

    at: float
    victim: str
    downtime: float


def plan(seconds: float, rng: random.Random) -> list[Shot]:
    """The shots within a time, as a function of the generator's seed."""
    shots, at = [], 0.0
    while (at := at + rng.expovariate(1 / MEAN_GAP_SECONDS)) < seconds:
        (victim,) = rng.choices(list(CHANCES), list(CHANCES.values()))
        downtime = rng.choice((0.0, rng.uniform(0, LONGEST_DOWNTIME_SECONDS)))
        shots.append(Shot(at, victim, downtime))
    return shots


def experiment_spec(steps: int) -> dict[str, Any]:
    """Twenty runs of two shapes."""
    inner = scenarios.SPEC["spec"]
    grid = inner["grid"] | {"seeds": [0, 1, 2, 3, 4]}
    record = {"metrics_interval": INTERVAL, "weights": "initial_and_final"}
    changes = {"steps": steps, "evaluation_interval": 10 * INTERVAL, "record": record, "grid": grid}
    return {"spec": inner | changes}


def run(seconds: float, seed: int, store: str, runs: int) -> None:
    """Run the test; AssertionError if anything is lost, doubled, wrong or left over.

    Args:
        seconds: Time during which parts are killed.
        seed: Seed of victims, times and downtimes.
        store: "sqlite" or "postgresql".
        runs: Total number of runs, in experiments of 20.
    """
    again = f"BALLISTIC='--seconds {seconds:g} --store {store} --runs {runs} --seed {seed}'"
    print(f"seed {seed}; to repeat it: make ballistic {again}", flush=True)
    names = [f"b{number:03d}" for number in range(-(-runs // RUNS_EACH))]
    # About as much work as can be done between the shots.
    spec = experiment_spec(max(2, round(seconds / 600 * 40)) * INTERVAL)
    rng = random.Random(seed)
    shots, submitted = plan(seconds, rng), sorted(rng.uniform(0, 0.7 * seconds) for _ in names)
    with (
        running(store, mlflow_server=True, settings=SETTINGS) as scene,
        _telling(scene),
        ThreadPoolExecutor(1) as pool,
    ):
        range_ = Range(scene)

        def submit_all() -> None:
            for at, name in zip(submitted, names, strict=True):
                time.sleep(max(0.0, at - range_.now()))
                submit(scene.lab, name, spec, seconds=seconds)
                range_.say(f"{name} is acknowledged")

        submitting = pool.submit(submit_all)
        range_.shoot(shots)
        submitting.result()
        _await_done(range_, names)
        _check(scene, names)
        _tell(range_)
        checks.check_all_ended(scene.lab)
    print(f"all {runs} runs are as they should be; seed {seed}")


@contextmanager
def _telling(scene: Scene) -> Iterator[None]:
    """Print what may explain an error before everything is removed."""
    try:
        yield
    except Exception:
        lab = scene.lab
        for part in lab.parts:
            print(lab.tail(part, 40))
        for experiment in lab.store.list_experiments(limit=100):
            for event in lab.store.events(experiment.id, after=0, limit=100_000):
                if event.kind == "notice":
                    print(experiment.id, event.sequence, f"{event.time:.1f}", event.payload["message"])
        raise


def _check(scene: Scene, names: list[str]) -> None:
    lab = scene.lab
    for name in names:
        checks.check_history(lab.store, name)
        points = checks.check_steps(lab.store, name, interval=INTERVAL)
        checks.check_mlflow(lab.mlflow_uri, lab.store, name, points)
        checks.check_weights(lab, name)
    checks.check_nothing_left(lab)


@dataclass
class Range:
    """A service whose parts are shot at.

    Attributes:
        scene: The service.
        hits: Number of hits by victim.
        begin: Start, on the monotonic clock.
        held: Parts that must stay down, with the end of the downtime in seconds from the start.
        locked_until: Time at which SQLite's lock is released, if it is held.
    """

    scene: Scene
    hits: Counter[str] = field(default_factory=Counter)
    begin: float = field(default_factory=time.monotonic)
    held: dict[str, float] = field(default_factory=dict)
    locked_until: float | None = None

    def now(self) -> float:
        """Seconds from the start."""
        return time.monotonic() - self.begin

    def say(self, what: str) -> None:
        """Print a line with the time."""
        print(f"{self.now():6.1f} s  {what}", flush=True)

    def shoot(self, shots: list[Shot]) -> None:
        """Fire the shots, and restart parts after their downtime, until all parts are up again."""
        waiting = list(shots)
        while waiting or self.locked_until is not None or self._down():
            self.restore()
            if waiting and waiting[0].at <= self.now():
                shot = waiting.pop(0)
                if self._hit(shot):
                    self.hits[shot.victim] += 1
                    self.say(f"{shot.victim}, {shot.downtime:.1f} s")
            time.sleep(0.05)

    def restore(self) -> None:
        """Start parts whose downtime is over or that ended by themselves, as `ipserver up` does."""
        if self.locked_until is not None and self.locked_until <= self.now():
            scenarios.unlock_store(self.scene)
            self.locked_until = None
        for part in self._down():
            if self.held.get(part, 0.0) <= self.now():
                self.scene.lab.start(part)

    def _down(self) -> list[str]:
        return [part for part in self.scene.lab.parts if self.scene.lab.ended(part) is not None]

    def _hit(self, shot: Shot) -> bool:
        """Fire a shot; return whether there was a victim."""
        lab, until = self.scene.lab, self.now() + shot.downtime
        if shot.victim == "store" and "relay" not in lab.parts:
            if self.locked_until is None:
                scenarios.lock_store(self.scene)
                self.locked_until = until
            return self.locked_until == until
        aliases = {"dispatch, told to stop": "dispatch", "store": "relay"}
        inside_ray: dict[str, Callable[[], list[int]]] = {
            "trainer": lambda: lab.trainers()[:1],
            "raylet": lambda: lab.ray("raylet"),
            "all of Ray": lab.ray,
        }
        part = "dispatch" if shot.victim in inside_ray else aliases.get(shot.victim, shot.victim)
        if part in self._down():
            return False
        if shot.victim != "trainer":
            self.held[part] = until
        if shot.victim in inside_ray:
            victims = inside_ray[shot.victim]()
            for pid in victims:
                kill(pid)
            return bool(victims)
        if shot.victim.endswith("told to stop"):
            lab.processes[part].terminate()
        else:
            lab.kill(part)
        return True


def _await_done(range_: Range, names: list[str]) -> None:
    """Wait, without further kills, until everything has ended."""
    lab = range_.scene.lab
    range_.say("quiet")
    begin = time.monotonic()
    deadline = begin + QUIET_SECONDS
    while time.monotonic() < deadline:
        range_.restore()
        records = [lab.store.get_experiment(name) for name in names]
        calm = time.monotonic() - begin > LEAST_QUIET_SECONDS
        if calm and all(record.state.terminal and not record.mlflow_pending_runs for record in records):
            range_.say("all is done")
            return
        time.sleep(0.5)
    logs = "\n".join(map(lab.tail, lab.parts))
    raise AssertionError(f"not done within {QUIET_SECONDS:g} s: {records}\n{logs}")


def _tell(range_: Range) -> None:
    with range_.scene.lab.store.database.engine.connect() as connection:
        rows = connection.execute(
            sa.select(attempts.c.end_reason, sa.func.count()).group_by(attempts.c.end_reason)
        ).all()
    print("hit:", ", ".join(f"{name} {count}" for name, count in range_.hits.most_common()))
    print("attempts:", ", ".join(f"{count} {reason or 'done or given back'}" for reason, count in rows))
