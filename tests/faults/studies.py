"""A study whose service is killed at random points ends with the same verdict and the same runs.

One study is driven in peace. Others ask the same question while parts are killed: at failpoints of the study
itself, and API, dispatcher and trainers at random times. Each of them must end as the first one did.
"""

from __future__ import annotations

import itertools
import random
import time
import uuid
from typing import Final

import iplab
from ipserver.store.records.studies import StudyRecord
from tests.faults.edits import QUESTION
from tests.faults.lab import Lab, wait_for
from tests.faults.processes import kill
from tests.faults.running import running
from tests.faults.scenarios import Scene

POINTS: Final = tuple(
    f"{name}.{phase}"
    for name in ("study", "round", "create", "extend", "asked", "verdict")
    for phase in ("before", "during", "after")
)
_PEACE_SECONDS: Final = 300.0


def run(kills: int, seed: int, store: str) -> None:
    """Do it on a service of its own; AssertionError if a verdict or a run differs."""
    print(
        f"seed {seed}; to repeat it: python -m tests.faults studies --kills {kills} --seed {seed}", flush=True
    )
    with running(store, mlflow_server=False) as scene:
        begin = time.monotonic()
        asked = storm(scene, kills, random.Random(seed))
        print(
            f"{kills} kills, {asked} studies, all as in peace; {time.monotonic() - begin:.0f} s; seed {seed}"
        )


def storm(scene: Scene, kills: int, rng: random.Random) -> int:
    """One study in peace, then so many kills over as many studies as they take; the number of these."""
    lab = scene.lab
    ask(lab, "calm")
    expected = _told(lab, _await_end(lab, "calm", _PEACE_SECONDS))
    left = kills
    for number in itertools.count(1):
        name = f"stormy-{number}"
        left -= _stormy(lab, name, left, rng)
        found = _told(lab, _await_end(lab, name, _PEACE_SECONDS))
        assert found == expected, f"{name} differs from calm:\n{found}\n{expected}"
        if left <= 0:
            return number
    raise AssertionError("unreachable")


def ask(lab: Lab, name: str) -> None:
    """Ask the question, by repeating the request until it is acknowledged."""
    request = str(uuid.uuid4())

    def acknowledged() -> bool:
        _revive(lab)
        try:
            with lab.client() as client:
                client.study(**QUESTION, study_id=name, request_id=request)
        except iplab.UnavailableError:
            return False
        return True

    wait_for(acknowledged, _PEACE_SECONDS, lambda: lab.tail("api"))


def _stormy(lab: Lab, name: str, kills: int, rng: random.Random) -> int:
    """Ask while parts are killed, until the study has ended or enough have been; how many were."""
    killed = 0
    point = rng.choice(POINTS)
    lab.arm(point, "kill")
    ask(lab, name)
    while killed < kills and not lab.store.get_study(name).state.terminal:
        deadline = time.monotonic() + rng.uniform(0.5, 8.0)
        while time.monotonic() < deadline and not lab.store.get_study(name).state.terminal:
            if (lab.failpoints / f"{point}.reached").exists():
                killed += 1
                lab.release()
                point = rng.choice(POINTS)
                lab.arm(point, "kill")
            _revive(lab)
            time.sleep(0.05)
        killed += _shoot(lab, rng)
    lab.release()
    return killed


def _shoot(lab: Lab, rng: random.Random) -> int:
    victim = rng.choice(("api", "dispatch", "trainer"))
    if victim == "trainer":
        trainers = lab.trainers()[:1]
        for pid in trainers:
            kill(pid)
        return len(trainers)
    if lab.ended(victim) is not None:
        return 0
    lab.kill(victim)
    return 1


def _revive(lab: Lab) -> None:
    """Start parts that have ended, as `ipserver up` does."""
    lab.start(*(name for name in lab.parts if lab.ended(name) is not None))


def _await_end(lab: Lab, name: str, seconds: float) -> StudyRecord:
    def ended() -> bool:
        _revive(lab)
        return lab.store.get_study(name).state.terminal

    wait_for(ended, seconds, lambda: f"{lab.store.get_study(name)}; {lab.tail('dispatch')}", poll=0.2)
    return lab.store.get_study(name)


def _told(lab: Lab, study: StudyRecord) -> tuple[object, ...]:
    """State, verdict, rounds, and every run once, with its end."""
    runs = [
        (run.width, run.base_learning_rate, run.seed, run.state.value)
        for name in study.experiments
        for run in lab.store.list_runs(name, limit=10_000)
    ]
    assert len(runs) == len(set(runs)), f"{study.id}: a run was asked for twice"
    mine = {one.id for one in lab.store.list_experiments(limit=1000) if one.labels.get("study") == study.id}
    assert mine == set(study.experiments), f"{study.id}: an experiment belongs to no round"
    rounds = [(one.number, one.why, one.runs) for one in study.rounds]
    return study.state.value, study.outcome.verdict, study.outcome.reason, rounds, sorted(runs)
