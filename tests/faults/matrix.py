"""The whole matrix: every fault, before, during and after what it interrupts, for 0, 5 and 30 seconds.

Two services share it, on SQLite and on PostgreSQL (or both on SQLite, without a PostgreSQL): while one of
them has its downtime, the other one works.
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
_MOST_FAILURES = 5  # of one service: then something is wrong altogether


@dataclass(frozen=True)
class Case:
    """A place in the matrix; `kind` of store may be "": any."""

    fault: str
    phase: str
    downtime: float
    kind: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.phase} {FAULTS[self.fault].point}, {self.downtime:g} s, {self.kind}"


def cases(stores: Sequence[str]) -> list[Case]:
    """All that make sense, spread over the stores: each meets each fault, and all have equally many."""
    found = [
        Case(name, phase, downtime, fault.only)
        for name, fault in FAULTS.items()
        if fault.only in {"", *stores}
        for phase in fault.phases
        for downtime in (DOWNTIMES if fault.lasts else DOWNTIMES[:1])
    ]
    own = Counter(case.kind for case in found)
    given = dict.fromkeys(stores, 0)
    for number, case in enumerate(found):
        if not case.kind:
            # What a store has of its own counts little by little, so that no fault is one store's alone.
            part = sum(given.values()) / own[""]
            store = min(stores, key=lambda store: given[store] + part * own[store])
            given[store] += 1
            found[number] = replace(case, kind=store)
    return found


def run(stop: threading.Event, only: str = "") -> list[str]:
    """Go through the matrix; what failed.

    Args:
        stop: Once it is set, cases that are left count as failed.
        only: Regular expression that is found in the description of a case.
    """
    stores = ["sqlite", "postgresql"] if POSTGRES else ["sqlite"]
    if not POSTGRES:
        print("IPLAB_TEST_POSTGRES is not set: all of it on SQLite, without 'store cut off'", flush=True)
    wanted = [case for case in cases(stores) if re.search(only, str(case))]
    shares = [[case for case in wanted if case.kind == store] for store in stores]
    if not POSTGRES:
        shares = [wanted[::2], wanted[1::2]]
    print(f"{len(wanted)} cases", flush=True)
    with ThreadPoolExecutor(len(shares)) as pool:
        failed = pool.map(lambda share: _go_through(share, stop), filter(None, shares))
        return [failure for share in failed for failure in share]


def _go_through(share: list[Case], stop: threading.Event) -> list[str]:
    """One service's share; after a failure it is replaced by a new one."""
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
