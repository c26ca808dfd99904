"""How far a study is: a bar on a terminal, lines in files and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress

from iplab.display.pace import Estimate

# In files and pipes a line after so many seconds at least.
_LINE_SECONDS: Final = 10.0


@contextmanager
def shown(
    console: Console, name: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[float], None]]:
    """Yield what a study calls with the share of its work that is done, 0 to 1.

    Args:
        console: Where the progress is shown.
        name: Name of the study.
        clock: Seconds; decides when another line is due in files and pipes.
    """
    if console.is_terminal:
        with Progress(console=console) as bars:
            bar = bars.add_task(name, total=1.0)
            yield lambda done: bars.update(bar, completed=done)
        return
    estimate, due = Estimate(clock), clock() + _LINE_SECONDS
    estimate.left(0.0, 1.0)

    def line(done: float) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + _LINE_SECONDS
            console.print(f"{name}: {done:.0%}{estimate.left(done, 1.0)}", highlight=False)

    yield line
