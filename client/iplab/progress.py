"""Progress bars for the terminal, fed by events."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from iplab.events import Event, Notice, PackProgressed, StateChanged

if TYPE_CHECKING:
    from iplab.study import Study

Group = tuple[int, int, str]


@dataclass(slots=True)
class Pack:
    """How far a pack is: updates over all its runs."""

    group: Group
    done: int
    total: int


class Tally:
    """Updates done and wanted per group of runs (hidden layers, width, activation), from events."""

    def __init__(self) -> None:
        self.packs: dict[str, Pack] = {}

    def add(self, event: PackProgressed) -> Group:
        """Take note of one event; returns the group that it is about."""
        group = (event.hidden_layers, event.width, event.activation)
        self.packs[event.pack] = Pack(group, event.runs * event.committed_steps, event.runs * event.steps)
        return group

    def of(self, group: Group | None) -> tuple[int, int]:
        """Updates done and wanted in a group; None: in all of them."""
        packs = [pack for pack in self.packs.values() if group is None or pack.group == group]
        return sum(pack.done for pack in packs), sum(pack.total for pack in packs)


def follow(events: Iterable[Event], title: str, *, show: bool, console: Console | None = None) -> None:
    """Read all events; draw a bar per group, and one for all of them, while they come.

    Args:
        events: As `Experiment.watch` gives them.
        title: Shown before state changes.
        show: Whether to draw at all.
        console: Where to draw; default: standard error, and nothing if that is not a terminal.
    """
    console = console or Console(file=sys.stderr)
    if not show or not console.is_terminal:
        for _ in events:
            pass
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        _TimeLeft(),
    )
    tally, bars = Tally(), dict[Group | None, TaskID]()
    with Progress(*columns, console=console) as progress:
        for event in events:
            if isinstance(event, StateChanged):
                progress.console.print(f"{title} is {event.state}", highlight=False)
            elif isinstance(event, Notice):
                progress.console.print(event.message, highlight=False, markup=False)
            elif isinstance(event, PackProgressed):
                for group in (None, tally.add(event)):
                    done, total = tally.of(group)
                    if group not in bars:
                        bars[group] = progress.add_task(_label(group), total=total)
                    progress.update(bars[group], completed=done, total=total)
        for bar in bars.values():
            progress.stop_task(bar)


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
    console.print(text, highlight=False, markup=False, soft_wrap=not console.is_terminal)


class _TimeLeft(TimeRemainingColumn):
    """Nothing once the events have ended, whether all steps were done or not."""

    max_refresh = 0.0  # what is kept from before must not outlive the end

    def render(self, task: Task) -> Text:
        """As in "left 0:01:30"."""
        return Text() if task.stop_time is not None else Text("left ").append_text(super().render(task))


def _label(group: Group | None) -> str:
    if group is None:
        return "all runs"
    layers, width, activation = group
    return f"{layers} hidden layers, width {width}, {activation}"
