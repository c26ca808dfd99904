"""The fair locks."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipserver.store.turns import Turns, WriteTurns

# Repeatedly requests its turn and takes it for a while; prints both.
OTHER = """
import sys, time
from pathlib import Path
from ipserver.store.turns import WriteTurns
turns = WriteTurns(Path(sys.argv[1]))
while True:
    print("asks", flush=True)
    with turns:
        print("mine", flush=True)
        time.sleep(float(sys.argv[2]))
"""


def test_turns_go_in_the_order_of_arrival() -> None:
    turns = Turns()
    order: list[int] = []

    def take(n: int) -> None:
        with turns:
            order.append(n)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(5)]
    with turns:
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            while len(turns._waiting) < waiting:
                time.sleep(0.001)
        order.append(-1)
    for thread in threads:
        thread.join()
    assert order == [-1, 0, 1, 2, 3, 4]
    with turns:  # It is free again.
        pass


def test_one_at_a_time() -> None:
    turns = Turns()
    inside = 0
    worst = 0

    def work() -> None:
        nonlocal inside, worst
        for _ in range(200):
            with turns:
                inside += 1
                worst = max(worst, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == 1


@contextmanager
def another(database: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that repeatedly takes the turn for some seconds; it has the turn when the block begins."""
    command = [sys.executable, "-c", OTHER, str(database), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["asks\n", "mine\n"]
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def held(path: Path) -> bool:
    """Whether another process has locked a file."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_processes_take_turns(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "iplab.db")
    theirs = 0
    with another(tmp_path / "iplab.db", 0.1) as process:
        assert process.stdout is not None
        for _ in range(10):
            with turns:
                while process.stdout.readline() == "mine\n":
                    theirs += 1
                while not held(tmp_path / "iplab.db-next"):
                    time.sleep(0.001)  # it printed its request; now it waits
        process.kill()
    # It waits whenever we release the turn, and we wait while it has it. With polling, one would be
    # overtaken.
    assert 9 <= theirs <= 12


def test_threads_of_one_process_share_its_turn_for_a_while_only(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "iplab.db")
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with turns:
                time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with another(tmp_path / "iplab.db", 0.001) as process:
            assert process.stdout is not None
            begun = time.monotonic()
            for _ in range(10):  # two lines per turn: five turns
                process.stdout.readline()
            assert time.monotonic() - begun < 30
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_turn_of_a_dead_process_is_free(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "iplab.db", patience=60)
    with another(tmp_path / "iplab.db", 3600) as process:
        process.kill()
        begun = time.monotonic()
        with turns:
            pass
    assert time.monotonic() - begun < 30


def test_a_stopped_process_is_not_waited_for_without_bound(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "iplab.db", patience=0.3)
    with another(tmp_path / "iplab.db", 3600) as process:
        os.kill(process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        with turns:
            waited = time.monotonic() - begun
        with turns:
            pass
    assert 0.3 <= waited < 30


@pytest.mark.parametrize("database", ["nowhere/iplab.db", "file/iplab.db"])
def test_where_no_file_can_be_made_one_goes_on_without(tmp_path: Path, database: str) -> None:
    (tmp_path / "file").touch()
    turns = WriteTurns(tmp_path / database)
    with turns:
        pass
    turns.close()


def test_after_closing_it_opens_again(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "iplab.db")
    for _ in range(2):
        with turns:
            pass
        turns.close()
