"""`make faults` and `make ballistic`, which take too long for the suite."""

from __future__ import annotations

import secrets
import signal
import sys
import threading
import time

import click

from tests.faults import ballistic, matrix, mixes, studies
from tests.faults.running import Unavailable


@click.group()
def main() -> None:
    """Fault injection that takes minutes."""


@main.command("matrix")
@click.option("--minutes", default=40.0, show_default=True, help="What is left then counts as failed.")
@click.option("--only", default="", help="Cases with this regular expression in their description.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), help="Of all; without it a share each.")
def matrix_command(minutes: float, only: str, store: str | None) -> None:
    """Inject every fault, before, during and after an operation, for 0, 5 and 30 s."""
    begin = time.monotonic()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    timer = threading.Timer(60 * minutes, stop.set)
    timer.start()
    failed = matrix.run(stop, only, store or "")
    timer.cancel()
    for failure in failed:
        print("failed:", failure.partition("\n")[0])
    print(f"{len(failed)} failed; {(time.monotonic() - begin) / 60:.1f} minutes")
    sys.exit(bool(failed))


@main.command("ballistic")
@click.option("--seconds", default=600.0, show_default=True, help="How long parts are killed.")
@click.option("--seed", type=int, help="Of a run to repeat; a new one otherwise.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
@click.option("--runs", default=200, show_default=True, help="How many runs there are in all.")
def ballistic_command(seconds: float, seed: int | None, store: str, runs: int) -> None:
    """Kill random parts at random times; then stop, and check that nothing was lost."""
    ballistic.run(seconds, secrets.randbelow(2**31) if seed is None else seed, store, runs)


@main.command("mixes")
@click.option("--minutes", default=10.0, show_default=True, help="How long experiments are submitted.")
@click.option("--dispatchers", default=1, show_default=True, help="How many share the Ray.")
@click.option("--seed", type=int, help="Of a run to repeat; a new one otherwise.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
def mixes_command(minutes: float, dispatchers: int, seed: int | None, store: str) -> None:
    """Train random mixes on a real Ray of two cores: no pack gets stuck, the most urgent goes first."""
    mixes.run(minutes, dispatchers, secrets.randbelow(2**31) if seed is None else seed, store)


@main.command("studies")
@click.option("--kills", default=50, show_default=True, help="How many parts are killed.")
@click.option("--seed", type=int, help="Of a run to repeat; a new one otherwise.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
def studies_command(kills: int, seed: int | None, store: str) -> None:
    """Parts are killed at random points of studies: each ends with the verdict and runs of one in peace."""
    studies.run(kills, secrets.randbelow(2**31) if seed is None else seed, store)


if __name__ == "__main__":
    try:
        main()
    except Unavailable as reason:
        sys.exit(f"not possible here: {reason}")
