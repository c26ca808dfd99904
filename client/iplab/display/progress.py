"""Progress from events: bars on a terminal, HTML in a notebook, lines in files and pipes."""

from __future__ import annotations

import importlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from iplab.display.pace import Estimate, duration
from iplab.display.terminal import visible
from iplab.results.events import Event, Notice, PackProgressed, RunsChanged, StateChanged
from iplab.results.states import ExperimentState, RunState

if TYPE_CHECKING:
    from iplab.studies.study import Study

Group = tuple[int, float, str]
# In files and pipes a line after so many seconds at least, and after twice as many where little happens.
_LINE_SECONDS: Final = 5.0
_HTML_SECONDS: Final = 0.3


@dataclass(slots=True)
class Pack:
    """How far a pack is: updates over all its runs."""

    group: Group
    runs: int
    done: int
    total: int


@dataclass(slots=True)
class Tally:
    """What events have said so far.

    Attributes:
        packs: Updates done and wanted, by pack; a pack belongs to a group (hidden layers, width, activation).
        diverged: Indices of the runs whose loss was not finite.
    """

    packs: dict[str, Pack] = field(default_factory=dict)
    diverged: set[int] = field(default_factory=set)

    def add(self, event: PackProgressed) -> Group:
        """Take note of one event; returns the group that it is about."""
        group = (event.hidden_layers, event.width, event.activation)
        done, total = event.runs * event.committed_steps, event.runs * event.steps
        self.packs[event.pack] = Pack(group, event.runs, done, total)
        return group

    def of(self, group: Group | None) -> tuple[int, int]:
        """Updates done and wanted in a group; None: in all of them."""
        packs = [pack for pack in self.packs.values() if group is None or pack.group == group]
        return sum(pack.done for pack in packs), sum(pack.total for pack in packs)

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left whose loss is finite."""
        return bool(self.diverged) and len(self.diverged) == sum(pack.runs for pack in self.packs.values())

    @property
    def groups(self) -> list[Group]:
        """All groups, ascending."""
        return sorted({pack.group for pack in self.packs.values()})


class Display(Protocol):
    """Where progress is shown."""

    def say(self, text: str) -> None:
        """Show a sentence that stays: a state, a notice."""

    def step(self, tally: Tally, group: Group) -> None:
        """Show that a group has made progress."""


def follow(
    events: Iterable[Event],
    title: str,
    *,
    show: bool,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Read all events, and show progress while they come.

    Args:
        events: As `Experiment.watch` gives them.
        title: Shown before state changes.
        show: Whether to show anything.
        console: Where; default: standard error, or the cell of a notebook.
        clock: Seconds; decides when another line is due in files and pipes.
    """
    if not show:
        for _ in events:
            pass
        return
    console = console or Console(file=sys.stderr)
    tally = Tally()
    with _display(console, clock) as display:
        for event in events:
            if isinstance(event, StateChanged):
                fruitless = event.state is ExperimentState.SUCCEEDED and tally.all_diverged
                display.say(f"{title} has ended" if fruitless else f"{title} is {event.state}")
            elif isinstance(event, Notice):
                display.say(event.message)
            elif isinstance(event, PackProgressed):
                display.step(tally, tally.add(event))
            elif isinstance(event, RunsChanged) and event.state is RunState.DIVERGED:
                if not tally.diverged:
                    display.say("a run has diverged: its loss is not finite (how many do is said at the end)")
                tally.diverged |= set(event.run_indices)


@contextmanager
def _display(console: Console, clock: Callable[[], float]) -> Iterator[Display]:
    if console.is_jupyter:
        with _Cell(clock) as cell:
            yield cell
    elif console.is_terminal:
        with Progress(*columns(), console=console) as progress:
            bars = _Bars(progress)
            yield bars
            bars.stop()
    else:
        yield _Lines(console, clock)


def columns() -> tuple[ProgressColumn, ...]:
    """Of a terminal's bars: "all runs ━━━ 200/400 steps 2 s left"."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        _TimeLeft(),
    )


class _Bars:
    """A bar per group, and one for all of them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[Group | None, TaskID] = {}

    def say(self, text: str) -> None:
        self._progress.console.print(visible(text), highlight=False, markup=False)

    def step(self, tally: Tally, group: Group) -> None:
        for each in (None, group):
            done, total = tally.of(each)
            if each not in self._bars:
                self._bars[each] = self._progress.add_task(_label(each), total=total)
            self._progress.update(self._bars[each], completed=done, total=total)

    def stop(self) -> None:
        for bar in self._bars.values():
            self._progress.stop_task(bar)


class _Lines:
    """A line now and then, for a reader who sees only what is written last."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._file, self._clock = console.file, clock
        self._estimate = Estimate(clock)
        self._next = clock() + _LINE_SECONDS

    def say(self, text: str) -> None:
        print(text, file=self._file, flush=True)

    def step(self, tally: Tally, group: Group) -> None:
        done, total = tally.of(None)
        left = self._estimate.left(done, total)
        if self._clock() < self._next and done < total:
            return
        self._next = self._clock() + _LINE_SECONDS
        diverged = f", {len(tally.diverged)} runs diverged" if tally.diverged else ""
        self.say(f"{done} of {total} steps ({100 * done // max(total, 1)} %){left}{diverged}")


class _Cell:
    """The output of a notebook's cell: one block of HTML that is replaced, without widgets or JavaScript."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._estimate = Estimate(clock)
        self._said: list[str] = []
        self._tally = Tally()
        self._left = ""
        self._next = 0.0

    def __enter__(self) -> _Cell:
        # There is one in a notebook; nothing else needs it.
        display = importlib.import_module("IPython.display").display
        self._handle = display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self._said.append(
                "waiting was stopped, the training goes on: wait() waits again, cancel() stops it"
            )
        self._left = ""
        self._draw()

    def say(self, text: str) -> None:
        self._said.append(text)
        self._draw()

    def step(self, tally: Tally, group: Group) -> None:
        self._tally = tally
        self._left = self._estimate.left(*tally.of(None))
        if self._clock() >= self._next:
            self._next = self._clock() + _HTML_SECONDS
            self._draw()

    def _draw(self) -> None:
        if self._handle is not None:
            done, total = self._tally.of(None)
            text = "\n".join([*self._said[-8:], f"{done} of {total} steps{self._left}"])
            html = _html(self._said, self._tally, self._left)
            self._handle.update({"text/plain": text, "text/html": html}, raw=True)


def _html(said: list[str], tally: Tally, left: str) -> str:
    """What was said last, and a bar per group."""
    rows = []
    for group in (None, *tally.groups) if tally.packs else ():
        done, total = tally.of(group)
        share = 100 * done / max(total, 1)
        time_left = left if group is None else ""
        rows.append(
            f"<tr><td style='text-align:left'>{escape(_label(group))}</td>"
            f"<td><progress value='{share:.1f}' max='100' style='width:16em'></progress></td>"
            f"<td style='text-align:right'>{done} of {total} steps{time_left}</td></tr>"
        )
    lines = "".join(f"<div>{escape(line)}</div>" for line in said[-8:])
    return f"{lines}<table>{''.join(rows)}</table>"


def follow_study(changes: Iterable[Study], *, show: bool, console: Console | None = None) -> None:
    """Read all changes; print each round when it begins, and what was learned when it ends.

    Args:
        changes: As `Study.watch` gives them.
        show: Whether to print at all.
        console: Where; default: standard error. A line that counts ended runs is drawn on terminals alone.
    """
    console = console or Console(file=sys.stderr)
    begun = ended = 0
    told: set[str] = set()
    with Status("", console=console) if show and console.is_terminal else nullcontext() as status:
        for study in changes:
            if not show:
                continue
            for one in study.rounds[ended:]:
                if one.number > begun:
                    begun = one.number
                    _say(console, f"round {one.number}: {one.runs} runs: {one.why}")
                if one.learned:
                    ended = one.number
                    for sentence in one.learned:
                        # Later rounds often leave a finding as it was, at a higher cost.
                        finding = sentence.partition(". ")[0]
                        if finding not in told:
                            _say(console, f"    {sentence}")
                    told = {sentence.partition(". ")[0] for sentence in one.learned}
            if status is not None:
                spent = study.spent
                status.update(f"{spent.runs} of {spent.asked_runs} runs ended, {spent.wall_seconds:.0f} s")


def _say(console: Console, text: str) -> None:
    """A line; on a terminal what does not fit stands below it, four letters further in."""
    if console.is_terminal:
        start = text[: len(text) - len(text.lstrip())]
        text = textwrap.fill(
            visible(text.lstrip()),
            max(console.width, 20),
            initial_indent=start,
            subsequent_indent=f"{start}    ",
            break_on_hyphens=False,
        )
    else:
        text = visible(text)
    console.print(text, highlight=False, markup=False, soft_wrap=True)


class _TimeLeft(TimeRemainingColumn):
    """Nothing once the events have ended, whether all steps were done or not."""

    max_refresh = 0.0  # what is kept from before must not outlive the end

    def render(self, task: Task) -> Text:
        """As in "1 min 30 s left"; nothing while no pace is known."""
        seconds = None if task.stop_time is not None else task.time_remaining
        return Text(f"{duration(seconds)} left" if seconds else "", style="progress.remaining")


def _label(group: Group | None) -> str:
    if group is None:
        return "all runs"
    layers, width, activation = group
    return f"{layers} hidden layers, width {width}, {activation}"
