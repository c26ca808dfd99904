"""Progress of experiments and studies, from their events and changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.console import Console

from iplab.display.pace import Estimate
from iplab.display.showing import Bar, display_on
from iplab.results.events import Event, Notice, PackProgressed, RunsChanged, StateChanged
from iplab.results.numbers import counted
from iplab.results.states import ExperimentState, RunState

if TYPE_CHECKING:
    from iplab.studies.study import Study

Group = tuple[int, float, str]
Say = Callable[[str], None]

_STOPPED: Final = "waiting was stopped, {} continues: wait() waits again, cancel() stops it"


@dataclass(slots=True)
class Pack:
    """Progress of a pack: updates over all its runs."""

    group: Group
    runs: int
    done: int
    total: int


@dataclass(slots=True)
class Tally:
    """Progress according to the events so far.

    Attributes:
        packs: Updates done and requested, by pack; a pack belongs to a group (hidden layers, width,
            activation).
        diverged: Indices of the runs whose loss was not finite.
    """

    packs: dict[str, Pack] = field(default_factory=dict)
    diverged: set[int] = field(default_factory=set)

    def add(self, event: PackProgressed) -> None:
        """Add one event."""
        group = (event.hidden_layers, event.width, event.activation)
        done, total = event.runs * event.committed_steps, event.runs * event.steps
        self.packs[event.pack] = Pack(group, event.runs, done, total)

    def of(self, group: Group | None) -> tuple[int, int]:
        """Updates done and requested in a group, or in all (None)."""
        packs = [pack for pack in self.packs.values() if group is None or pack.group == group]
        return sum(pack.done for pack in packs), sum(pack.total for pack in packs)

    def finish(self) -> None:
        """Nothing is left: runs that diverged ended before their last step."""
        for pack in self.packs.values():
            pack.total = pack.done

    @property
    def all_diverged(self) -> bool:
        """Whether every run has diverged."""
        return bool(self.diverged) and len(self.diverged) == sum(pack.runs for pack in self.packs.values())

    def bars(self) -> list[Bar]:
        """A bar for all runs, then one per group, ascending."""
        groups = sorted({pack.group for pack in self.packs.values()})
        return [Bar(_label(group), *self.of(group)) for group in (None, *groups)]


def follow(
    watch: Callable[[Say], Iterable[Event]],
    title: str,
    *,
    show: bool,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Read all events, and show progress meanwhile.

    Args:
        watch: Gives the events as `Experiment.watch` does, and says what else the reader should know.
        title: Shown before state changes.
        show: Whether to show anything.
        console: Console to show it on; default: standard error, or the cell of a notebook.
        clock: Seconds; decides when something is drawn again.
    """
    if not show:
        for _ in watch(_nothing):
            pass
        return
    tally, now = Tally(), 0.0

    def at() -> float:
        return now

    # The pace is computed from the events' own times, because past events arrive all at once.
    estimate = Estimate(at)
    with display_on(console or Console(file=sys.stderr), _STOPPED.format("the training"), clock) as display:
        for event in watch(display.say):
            now = event.time.timestamp()
            if isinstance(event, StateChanged):
                if event.state is ExperimentState.RUNNING:
                    estimate = Estimate(at)  # a pause says nothing about the pace
                fruitless = event.state is ExperimentState.SUCCEEDED and tally.all_diverged
                display.say(f"{title} has ended" if fruitless else f"{title} is {event.state}")
                if event.state is ExperimentState.SUCCEEDED:
                    tally.finish()
                if event.state.terminal and tally.packs:
                    display.step(tally.bars, "", _diverged(tally))
            elif isinstance(event, Notice):
                display.say(event.message)
            elif isinstance(event, PackProgressed):
                tally.add(event)
                display.step(tally.bars, estimate.left(*tally.of(None)), _diverged(tally))
            elif isinstance(event, RunsChanged) and event.state is RunState.DIVERGED:
                if not tally.diverged:
                    display.say("a run has diverged: its loss is not finite (how many do is said at the end)")
                tally.diverged |= set(event.run_indices)


def follow_study(
    watch: Callable[[Say], Iterable[Study]],
    *,
    show: bool,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Read all changes; show the purpose of each round when it begins, and its findings when it ends.

    Args:
        watch: Gives the changes as `Study.watch` does, and says what else the reader should know.
        show: Whether to show anything.
        console: Console to show it on; default: standard error, or the cell of a notebook.
        clock: Seconds; decides when something is drawn again.
    """
    if not show:
        for _ in watch(_nothing):
            pass
        return
    begun = ended = 0
    told: set[str] = set()
    with display_on(console or Console(file=sys.stderr), _STOPPED.format("the study"), clock) as display:
        for study in watch(display.say):
            for one in study.rounds[ended:]:
                if one.number > begun:
                    begun = one.number
                    display.say(f"round {one.number}: {one.runs} runs: {one.why}")
                if one.learned:
                    ended = one.number
                    for sentence in one.learned:
                        # Later rounds often leave a finding as it was, at a higher cost.
                        if sentence.partition(". ")[0] not in told:
                            display.say(f"    {sentence}")
                    told = {sentence.partition(". ")[0] for sentence in one.learned}
            if study.spent.asked_runs:
                display.step(partial(_runs_of, study))


def _runs_of(study: Study) -> list[Bar]:
    return [Bar("runs asked for so far", study.spent.runs, study.spent.asked_runs, "runs")]


def _nothing(_: str) -> None:
    pass


def _diverged(tally: Tally) -> str:
    return f", {counted(len(tally.diverged), 'run')} diverged" if tally.diverged else ""


def _label(group: Group | None) -> str:
    if group is None:
        return "all runs"
    layers, width, activation = group
    return f"{layers} hidden layers, width {width}, {activation}"
