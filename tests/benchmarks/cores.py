"""Times contestants fairly: each has all cores to itself, in the processes and threads that suit it best.

The processes of all contestants are started first. Then the contestants take turns, round by round, so that
ratios are fair on a busy machine. The best round of each contestant counts.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TypeVar

import torch

from tests.benchmarks.contestants import Case, Step

ROUNDS = 5
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to train.

    Attributes:
        make: A maker of `contestants`.
        case: The networks that it trains.
        processes: Number of processes that run at the same time.
        threads: Threads of torch in each process.
    """

    make: Callable[[Case], Step]
    case: Case
    processes: int
    threads: int


class Processes:
    """The processes of a contestant. A context manager."""

    def __init__(self, contestant: Contestant) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(contestant.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, contestant), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Processes:
        for pipe in self._pipes:
            pipe.recv()  # it is there
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)

    def seconds(self, updates: int) -> float:
        """Have every process do a number of updates; return when all have."""
        begun = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(updates)
        for pipe in self._pipes:
            pipe.recv()
        return time.perf_counter() - begun


def race(contestants: Mapping[str, Contestant], seconds: float, rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of one update by every process of each contestant.

    Args:
        contestants: By name.
        seconds: Approximate time for each contestant, all rounds together.
        rounds: Number of turns of each contestant.
    """
    with ExitStack() as stack:
        started = {name: Processes(contestant) for name, contestant in contestants.items()}
        for processes in started.values():
            stack.enter_context(processes)
        counts = {}
        for name, processes in started.items():
            processes.seconds(2)
            each = min(processes.seconds(2) for _ in range(2)) / 2
            counts[name] = max(1, int(seconds / rounds / each))
        best = dict.fromkeys(started, float("inf"))
        for _ in range(rounds):
            for name, processes in started.items():
                best[name] = min(best[name], processes.seconds(counts[name]) / counts[name])
        return best


def _serve(pipe: Connection, contestant: Contestant) -> None:
    torch.set_num_threads(contestant.threads)
    step = contestant.make(contestant.case)
    pipe.send(None)
    while True:
        try:
            step(pipe.recv())
        except EOFError:
            return
        if contestant.case.device == "cuda":
            torch.cuda.synchronize()
        pipe.send(None)
