"""The whole matrix: every fault, before, during and after the operation, for 0, 5 and 30 seconds.

Three services share the matrix, one of them on PostgreSQL if a server is given. While one is down, the others
work.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tests.faults import checks
from tests.faults.running import POSTGRES, Unavailable, running
from tests.faults.scenarios import FAULTS, Scene, play

DOWNTIMES = (0.0, 5.0, 30.0)
_MOST_FAILURES = 5  # failures of one service, after which it gives up


@dataclass(frozen=True)
class Case:
    """A case of the matrix; `kind` of store "" means any."""

    fault: str
    phase: str
    downtime: float
    kind: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.phase} {FAULTS[self.fault].point}, {self.downtime:g} s, {self.kind}"


def shares(services: Sequence[str]) -> list[list[Case]]:
    """All sensible cases for services on these kinds of stores, equally many for each.

    Each fault happens on each kind of store, unless it can happen on only one.
    """
    found = [
        Case(name, phase, downtime, fault.only)
        for name, fault in FAULTS.items()
        if fault.only in {"", *services}
        for turn, phase in enumerate(fault.phases)
        # In turns, so that a service that gets every third case gets every downtime.
        for downtime in (DOWNTIMES[turn:] + DOWNTIMES[:turn] if fault.lasts else DOWNTIMES[:1])
    ]
    own = Counter(case.kind for case in found)
    given = dict.fromkeys(services, 0)
    for number, case in enumerate(found):
        if not case.kind:
            # Spread the cases that only one kind of store has, so that every kind meets every other fault.
            part = sum(given.values()) / own[""]
            load = {kind: (given[kind] + part * own[kind]) / services.count(kind) for kind in given}
            kind = min(load, key=lambda kind: load[kind])
            given[kind] += 1
            found[number] = replace(case, kind=kind)
    dealt = {kind: [case for case in found if case.kind == kind] for kind in given}
    return [
        dealt[kind][services[:number].count(kind) :: services.count(kind)]
        for number, kind in enumerate(services)
    ]


def run(stop: threading.Event, only: str = "", store: str = "") -> list[str]:
    """Run the matrix; return the failed cases.

    Args:
        stop: After it is set, the remaining cases count as failed.
        only: Regular expression that selects cases by their description.
        store: The kind that all services have; "": each kind has its share.
    """
    if not POSTGRES:
        print("IPLAB_TEST_POSTGRES is not set: all of it on SQLite, without 'store cut off'", flush=True)
    services = (store,) * 3 if store else ("sqlite", "postgresql" if POSTGRES else "sqlite", "sqlite")
    wanted = [[case for case in share if re.search(only, str(case))] for share in shares(services)]
    print(f"{sum(map(len, wanted))} cases", flush=True)
    with ThreadPoolExecutor(len(services)) as pool:
        failed = pool.map(lambda share: _go_through(share, stop), filter(None, wanted))
        return [failure for share in failed for failure in share]


def _go_through(share: list[Case], stop: threading.Event) -> list[str]:
    """The share of one service, which is replaced after a failure."""
    failed: list[str] = []
    left = list(share)
    while left and not stop.is_set() and len(failed) < _MOST_FAILURES:
        case = left[0]
        try:
            with running(case.kind, mlflow_server=True) as scene:
                try:
                    while left and not stop.is_set():
                        case = left.pop(0)
                        _play(scene, case)
                    checks.check_all_ended(scene.lab)
                except Exception:
                    failed.append(
                        "\n".join([f"{case}:", traceback.format_exc(), *map(scene.lab.tail, scene.lab.parts)])
                    )
                    print(f"FAILED   {failed[-1]}", flush=True)
        except Unavailable:
            raise
        except Exception:
            failed.append(f"a service on {case.kind}:\n{traceback.format_exc()}")
            print(f"FAILED   {failed[-1]}", flush=True)
    return failed + [f"{case}: not played" for case in left]


def _play(scene: Scene, case: Case) -> None:
    if FAULTS[case.fault].own_disk and not scene.own_disk:
        print(f"skipped: {case}: only root can mount a file system", flush=True)
        return
    begin = time.monotonic()
    play(scene, (case.fault, case.phase), downtime=case.downtime)
    print(f"passed   {time.monotonic() - begin:5.1f} s  {case}", flush=True)
