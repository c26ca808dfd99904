"""Displays of progress: bars on a terminal, HTML in a notebook, lines in files and pipes."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from ipcore.errors import Brief
from iplab.display.terminal import visible
from iplab.errors import IplabError

# Minimum number of seconds between two lines in files and pipes.
_LINE_SECONDS: Final = 5.0
_HTML_SECONDS: Final = 0.3
_HTML_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """Progress: the number of units done out of `total`."""

    label: str
    done: int
    total: int
    unit: str = "steps"

    @property
    def amount(self) -> str:
        """Progress as text: "1,200 of 36,000 steps"."""
        return f"{self.done:,} of {self.total:,} {self.unit}"


class Display(Protocol):
    """A display of progress."""

    def say(self, text: str) -> None:
        """Show a sentence that stays: a state, a notice."""

    def step(self, bars: Callable[[], Sequence[Bar]], left: str = "", note: str = "") -> None:
        """Show the progress of everything (the first bar) and its parts. `bars` is called only when drawn.

        Args:
            bars: At least one.
            left: Remaining time, as text by `iplab.display.pace`.
            note: Further text for the line.
        """


class WaitingStopped(Brief, KeyboardInterrupt):
    """Waiting was stopped by the notebook's stop button."""


@contextmanager
def display_on(console: Console, stopped: str, clock: Callable[[], float]) -> Iterator[Display]:
    """The display that suits a console.

    Args:
        console: A terminal, a notebook, or a file.
        stopped: Text for a notebook when waiting was interrupted or ended with an error.
        clock: Seconds; decides when something is drawn again.
    """
    if console.is_jupyter:
        with _Cell(stopped, clock) as cell:
            yield cell
    elif console.is_terminal:
        with bars_on(console) as progress:
            yield _Bars(progress)
    else:
        yield _Lines(console, clock)


def bars_on(console: Console) -> Progress:
    """Bars on a terminal: "all runs ━━━ 200/400 steps, about 2 s left"."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}{task.fields[left]}"),
        console=console,
    )


class _Bars:
    """Display with a bar per part, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        console, text = self._progress.console, visible(text)
        start = text[: len(text) - len(text.lstrip())]
        wrapped = textwrap.fill(
            text.lstrip(),
            max(console.width, 20),
            initial_indent=start,
            subsequent_indent=f"{start}    ",
            break_on_hyphens=False,
        )
        console.print(wrapped, highlight=False, markup=False, soft_wrap=True)

    def step(self, bars: Callable[[], Sequence[Bar]], left: str = "", note: str = "") -> None:
        for place, bar in enumerate(bars()):
            if bar.label not in self._tasks:
                self._tasks[bar.label] = self._progress.add_task(bar.label, unit=bar.unit, left="")
            self._progress.update(
                self._tasks[bar.label], completed=bar.done, total=bar.total, left="" if place else left
            )


class _Lines:
    """Display with occasional lines, for files and pipes."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._file, self._clock = console.file, clock
        self._next = clock() + _LINE_SECONDS
        self._last = ""

    def say(self, text: str) -> None:
        print(visible(text), file=self._file, flush=True)

    def step(self, bars: Callable[[], Sequence[Bar]], left: str = "", note: str = "") -> None:
        whole = bars()[0]
        if self._clock() < self._next and whole.done < whole.total:
            return
        self._next = self._clock() + _LINE_SECONDS
        share = f"({100 * whole.done // max(whole.total, 1)} %)"
        line = f"{whole.amount} {share}{left}{note}"
        if line != self._last:
            self._last = line
            self.say(line)


class _Cell:
    """The output of a notebook's cell: one block of HTML that is replaced, without widgets or JavaScript."""

    def __init__(self, stopped: str, clock: Callable[[], float]) -> None:
        self._stopped, self._clock = stopped, clock
        self._said: list[str] = []
        self._bars: Callable[[], Sequence[Bar]] = tuple
        self._left = ""
        self._next = 0.0

    def __enter__(self) -> _Cell:
        # IPython is installed where a notebook runs, and needed only there.
        display = importlib.import_module("IPython.display").display
        self._handle = display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, (KeyboardInterrupt, IplabError)):
            self._said.append(self._stopped)
        self._left = ""
        self._draw()
        if kind is KeyboardInterrupt:
            raise WaitingStopped from None

    def say(self, text: str) -> None:
        self._said.append(visible(text))
        self._draw()

    def step(self, bars: Callable[[], Sequence[Bar]], left: str = "", note: str = "") -> None:
        self._bars, self._left = bars, left
        if self._clock() >= self._next:
            self._next = self._clock() + _HTML_SECONDS
            self._draw()

    def _draw(self) -> None:
        if self._handle is not None:
            said, bars = self._said[-_HTML_LINES:], self._bars()
            whole = [f"{bar.amount}{self._left}" for bar in bars[:1]]
            text, html = "\n".join([*said, *whole]), cell_html(said, bars, self._left)
            self._handle.update({"text/plain": text, "text/html": html}, raw=True)


def cell_html(said: Sequence[str], bars: Sequence[Bar], left: str) -> str:
    """HTML of the last messages and the bars."""
    rows = [
        f"<tr><td style='text-align:left'>{escape(visible(bar.label))}</td>"
        f"<td><progress value='{100 * bar.done / max(bar.total, 1):.1f}' max='100' style='width:16em'>"
        "</progress></td>"
        f"<td style='text-align:right'>{bar.amount}{'' if place else left}</td></tr>"
        for place, bar in enumerate(bars)
    ]
    lines = "".join(f"<div style='white-space:pre-wrap'>{escape(line)}</div>" for line in said)
    return f"{lines}<table>{''.join(rows)}</table>"
