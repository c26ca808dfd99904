"""Every fault: when it happens and how it ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ipserver.store.records.experiments import ExperimentRecord
from tests.faults import checks
from tests.faults.edits import EDITS, check_audited, repeat
from tests.faults.lab import Lab, wait_for
from tests.faults.processes import kill

PHASES = ("before", "during", "after")
# At least two packs, each of as many slices as steps.
STEPS, INTERVAL = 120, 5
SPEC: dict[str, Any] = {
    "spec": {
        "dataset": "digits",
        "batch_size": 32,
        "steps": STEPS,
        "evaluation_interval": 40,
        "record": {"metrics_interval": INTERVAL},
        "grid": {
            "parameterizations": [{"preset": "mup"}, {"preset": "ip-llr", "calibration": {}}],
            "widths": [16, 24],
            "hidden_layers": [2],
            "activations": ["relu"],
            "base_learning_rates": [0.05],
            "seeds": [0, 1],
        },
    }
}


# What an experiment is extended by, where it is.
LATER: dict[str, Any] = {"seeds": [2]}


@dataclass
class Scene:
    """A lab in which faults happen.

    Attributes:
        lock: The connection that holds SQLite's lock during the fault.
        own_disk: Whether its home is a separate small file system.
    """

    lab: Lab
    lock: sqlite3.Connection | None = None
    own_disk: bool = False


Step = Callable[[Scene], object]


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        point: The operation (of `ipserver.failpoints.POINTS`) before, during or after which it happens.
        action: What the process that passes the point does: kills itself, or waits while `begin` runs.
        begin: Causes the fault.
        follow: Runs as soon as the process continues.
        end: Repairs the fault after the downtime, except for starting parts that have ended.
        ends: Parts that the fault ends.
        phases: Phases in which it makes sense.
        lasts: Whether it is tried with every downtime, or only without any.
        only: Kind of store on which it happens; "": all.
        own_disk: Whether the lab's home must be a separate file system.
        extends: Whether the experiment is extended at once.
        edit: The write that is interrupted, of `EDITS`; "": an experiment trains.
    """

    point: str
    action: str = "wait 3"
    begin: Step = lambda _: None
    follow: Step = lambda _: None
    end: Step = lambda _: None
    ends: tuple[str, ...] = ()
    phases: tuple[str, ...] = PHASES
    lasts: bool = True
    only: str = ""
    own_disk: bool = False
    extends: bool = False
    edit: str = ""


def kill_trainers(scene: Scene) -> None:
    """kill -9 of every training actor."""
    trainers = scene.lab.trainers()
    assert trainers
    for pid in trainers:
        kill(pid)


def kill_raylet(scene: Scene) -> None:
    """kill -9 of the raylet, but not of its workers."""
    (raylet,) = scene.lab.ray("raylet")
    kill(raylet)


def kill_ray(scene: Scene) -> None:
    """kill -9 of all processes of Ray at once."""
    for pid in scene.lab.ray():
        kill(pid)


def lock_store(scene: Scene) -> None:
    """Hold SQLite's lock for writers."""
    scene.lock = sqlite3.connect(scene.lab.home / "iplab.db", isolation_level=None, timeout=60)
    scene.lock.execute("BEGIN IMMEDIATE")


def unlock_store(scene: Scene) -> None:
    """Let other writers in again."""
    assert scene.lock is not None
    scene.lock.rollback()
    scene.lock.close()
    scene.lock = None


def fill_disk(scene: Scene) -> None:
    """Fill the disk of the store and the artifacts, to the last byte."""
    with (scene.lab.home / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    free = os.statvfs(scene.lab.home)
    assert free.f_bavail == 0


def empty_disk(scene: Scene) -> None:
    """Free the disk."""
    (scene.lab.home / "filler").unlink()


def end_of_dispatcher(scene: Scene) -> None:
    """The dispatcher ends by itself when its Ray is gone."""
    scene.lab.await_end("dispatch", 90)


def _edited(point: str, edit: str, part: str = "api", action: str = "kill") -> Fault:
    return Fault(point, action, ends=(part,), lasts=False, edit=edit)


FAULTS = {
    "API killed": Fault("create", "kill", ends=("api",)),
    "API killed while it extends": Fault("extend", "kill", ends=("api",), lasts=False, extends=True),
    "dispatcher killed": Fault("commit", "kill 3", ends=("dispatch",)),
    "dispatcher killed while it plans": Fault("plan", "kill", ends=("dispatch",), lasts=False),
    "dispatcher killed while it leases": Fault("lease", "kill", ends=("dispatch",), lasts=False),
    "forwarder killed": Fault("mark", "kill 2", ends=("forward",)),
    "forwarder killed while it sends": Fault("send", "kill 2", ends=("forward",), lasts=False),
    "forwarder killed at its first marks": Fault("mark", "kill", ends=("forward",), lasts=False),
    "trainer killed": Fault("commit", begin=kill_trainers, lasts=False),
    "trainer killed at a checkpoint": Fault("checkpoint", "kill 2", lasts=False),
    "trainer killed at its weights": Fault("weights", "kill", lasts=False),
    "raylet killed": Fault("commit", begin=kill_raylet, follow=end_of_dispatcher, ends=("dispatch",)),
    "all of Ray killed": Fault("commit", begin=kill_ray, follow=end_of_dispatcher, ends=("dispatch",)),
    "MLflow killed": Fault("send", "wait 3", begin=lambda scene: scene.lab.kill("mlflow"), ends=("mlflow",)),
    "store cut off": Fault(
        "commit", begin=lambda scene: scene.lab.kill("relay"), ends=("relay",), only="postgresql"
    ),
    # During a commit the dispatcher itself holds the lock.
    "store locked": Fault(
        "commit", begin=lock_store, end=unlock_store, phases=("before", "after"), only="sqlite"
    ),
    "disk full": Fault("commit", begin=fill_disk, end=empty_disk, only="sqlite", own_disk=True),
    "no room for checkpoints": Fault("checkpoint", "full", phases=("during",), lasts=False),
    "no room for weights": Fault("weights", "full", phases=("during",), lasts=False),
    "dispatcher told to stop": Fault(
        "commit",
        begin=lambda scene: scene.lab.processes["dispatch"].terminate(),
        follow=lambda scene: scene.lab.processes["dispatch"].wait(40),
        ends=("dispatch",),
    ),
    "API told to stop": Fault(
        "create",
        "wait",
        begin=lambda scene: scene.lab.processes["api"].terminate(),
        follow=lambda scene: scene.lab.processes["api"].wait(20),
        lasts=False,
        ends=("api",),
    ),
    "API killed while it updates": _edited("update", "update"),
    "API killed while it updates a study": _edited("update", "update of a study"),
    "API killed while it deletes": _edited("delete", "delete"),
    "API killed while it undeletes": _edited("delete", "undelete"),
    "API killed while it lets purge": _edited("delete", "purge"),
    "API killed while it retries": _edited("retry", "retry"),
    "API killed at an audit entry": _edited("audit", "update"),
    "dispatcher killed while it retires": _edited("delete", "retention", "dispatch"),
    "dispatcher killed as it begins to purge": _edited("purge", "removal", "dispatch"),
    # Other passes before it find what is to be purged.
    "dispatcher killed while it purges": _edited("purge", "removal", "dispatch", "kill 4"),
}


def play(scene: Scene, *events: tuple[str, str], downtime: float = 0.0) -> None:
    """Submit an experiment, cause faults and repair them, and check that they leave no trace.

    Args:
        scene: The lab.
        events: Faults with their phases, in order. No two in a row are at the same point.
        downtime: Duration of each fault in seconds.
    """
    lab = scene.lab
    experiment = f"f{uuid.uuid4().hex[:10]}"
    first, *others = events
    if FAULTS[first[0]].edit:
        assert not others, "a write is interrupted alone"
        interrupt(scene, *first, experiment)
        return
    lab.arm(*_point(*first))
    extends = any(FAULTS[name].extends for name, _ in events)
    with submitting(lab, experiment, LATER if extends else {}):
        for (name, phase), then in itertools.zip_longest(events, others):
            suffer(scene, name, phase, downtime, then)
    verify(scene, experiment)
    checks.check_attempts(lab.store, experiment, len(events))


def interrupt(scene: Scene, name: str, phase: str, thing: str) -> None:
    """Interrupt a write to something that is there, and check that all of it is done, and on record."""
    lab, edit = scene.lab, EDITS[FAULTS[name].edit]
    edit.prepare(lab, thing)
    lab.arm(*_point(name, phase))
    with ThreadPoolExecutor(1) as pool:
        acknowledged = pool.submit(edit.ask, lab, thing)
        suffer(scene, name, phase, 0.0)
        acknowledged.result()
    if "dispatch" in FAULTS[name].ends:
        lab.await_dispatcher()
    if edit.method:
        check_audited(lab, thing, edit, committed=phase == "after")
    edit.check(lab, thing)
    checks.check_nothing_left(lab)


def suffer(scene: Scene, name: str, phase: str, downtime: float, then: tuple[str, str] | None = None) -> None:
    """Wait until an armed fault happens, carry it out, and repair it.

    The fault that comes `then` is armed before the repair: what is left of an experiment may take no longer.
    """
    lab, fault = scene.lab, FAULTS[name]
    point = f"{fault.point}.{phase}"
    lab.await_reached(point)
    fault.begin(scene)
    if then is not None:
        lab.arm(*_point(*then))
    if not fault.action.startswith("full"):
        lab.release(point)
    fault.follow(scene)
    time.sleep(downtime)
    fault.end(scene)
    lab.release(point)
    for part in fault.ends:
        lab.await_end(part, 120)
    revived = lab.revive()
    assert set(revived) == set(fault.ends), "\n".join([f"ended: {revived}", *map(lab.tail, revived)])


def _point(name: str, phase: str) -> tuple[str, str]:
    return f"{FAULTS[name].point}.{phase}", FAULTS[name].action


def verify(scene: Scene, experiment: str) -> None:
    """Wait for an experiment's end, in MLflow too, and make all checks."""
    lab = scene.lab
    await_done(lab, experiment, 300)
    checks.check_history(lab.store, experiment)
    points = checks.check_steps(lab.store, experiment, interval=INTERVAL)
    checks.check_mlflow(lab.mlflow_uri, lab.store, experiment, points)
    checks.check_weights(lab, experiment)
    checks.check_nothing_left(lab)


def await_done(lab: Lab, experiment: str, seconds: float) -> None:
    """Wait until an experiment has ended and MLflow has all of it; no part may end meanwhile."""

    def record() -> ExperimentRecord:
        dead = [part for part in lab.parts if lab.ended(part) is not None]
        assert not dead, "\n".join(map(lab.tail, dead))
        return lab.store.get_experiment(experiment)

    wait_for(lambda: record().state.terminal, seconds, lambda: f"{record()}; {lab.tail('dispatch')}")
    wait_for(lambda: record().mlflow_pending_runs == 0, seconds, lambda: lab.tail("forward"))


def submit(
    lab: Lab, experiment: str, spec: Mapping[str, Any], seconds: float, later: Mapping[str, Any] | None = None
) -> None:
    """Create an experiment, and extend it by `later`, repeating each request until it is acknowledged."""
    request = str(uuid.uuid4())
    repeat(lab, seconds, lambda c: c.create(spec, experiment_id=experiment, request_id=request))
    if later:
        again = str(uuid.uuid4())
        repeat(lab, seconds, lambda c: c.experiment(experiment).extend(**later, request_id=again))


@contextmanager
def submitting(lab: Lab, experiment: str, later: Mapping[str, Any]) -> Iterator[None]:
    """Create an experiment, and extend it by `later`, meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        acknowledged = pool.submit(submit, lab, experiment, SPEC, 90.0, later)
        yield
        acknowledged.result()
