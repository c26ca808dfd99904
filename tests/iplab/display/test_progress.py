"""Progress: sums per group of runs, as bars on terminals, lines in files, HTML in notebooks."""

import io
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from rich.console import Console

from iplab.display import showing
from iplab.display.progress import Tally, follow, follow_study
from iplab.display.showing import Bar, bars_on, cell_html
from iplab.results.events import Notice, PackProgressed, RunsChanged, StateChanged
from iplab.results.states import ExperimentState, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def progressed(pack, committed, *, width=64, runs=3, sequence=1, at=0.0):
    time = NOW + timedelta(seconds=at)
    return PackProgressed(sequence, time, pack, 4, width, "relu", runs, committed, 100)


def giving(events):
    """A watch that says nothing beside its events."""
    return lambda say: events


EVENTS = [
    StateChanged(1, NOW, ExperimentState.RUNNING),
    progressed("a", 0),
    progressed("b", 0, runs=1),
    Notice(4, NOW, "waiting for [2] cpus"),
    progressed("a", 50),
    StateChanged(6, NOW, ExperimentState.SUCCEEDED),
]


def test_a_group_sums_its_packs():
    tally = Tally()
    for event in (progressed("a", 0), progressed("b", 20, runs=1), progressed("c", 7, width=128)):
        tally.add(event)
    assert tally.of((4, 64, "relu")) == (20, 400)
    tally.add(progressed("a", 50))
    assert tally.of((4, 64, "relu")) == (170, 400)
    assert tally.of((4, 128, "relu")) == (21, 300)
    assert tally.of(None) == (191, 700)


def test_a_terminal_gets_bars_states_and_notices():
    stream = io.StringIO()
    follow(giving(EVENTS), "quick", show=True, console=Console(file=stream, force_terminal=True, width=120))
    text = stream.getvalue()
    assert "4 hidden layers, width 64, relu" in text
    assert "all runs" in text
    assert "quick is SUCCEEDED" in text
    assert "waiting for [2] cpus" in text


def test_bars_are_full_at_the_end_though_runs_diverged():
    """Packs of 3 runs, 100 steps each, of one pack 40 before all diverged: 300 + 3 * 40 = 420."""
    events = [
        progressed("a", 100),
        progressed("b", 40, width=128),
        RunsChanged(3, NOW, RunState.DIVERGED, (3, 4, 5)),
        StateChanged(4, NOW, ExperimentState.SUCCEEDED),
    ]
    stream = io.StringIO()
    follow(giving(events), "e", show=True, console=Console(file=stream), clock=lambda: 0.0)
    assert "420 of 420 steps (100 %), 3 runs diverged" in stream.getvalue()


def test_a_terminal_is_told_how_long_it_takes_and_nothing_while_no_pace_is_known(monkeypatch):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    paper, drawn = Console(file=io.StringIO(), width=120), []

    def coming(say):
        for second, done in enumerate((0, 25, 50)):
            yield progressed("a", done, runs=4, at=second)
            # Bars are drawn ten times a second; here after each event.
            with paper.capture() as capture:
                paper.print(active[0].get_renderable())
            drawn.append(re.sub(r"[━╸╺]+", "", capture.get()).splitlines()[0].split())

    active = []
    monkeypatch.setattr(showing, "bars_on", lambda console: active.append(bars_on(console)) or active[0])
    follow(coming, "quick", show=True, console=console)
    assert drawn == [
        ["all", "runs", "0/400", "steps"],
        ["all", "runs", "100/400", "steps,", "about", "3", "s", "left"],
        ["all", "runs", "200/400", "steps,", "about", "2", "s", "left"],
    ]


def test_what_happened_before_the_waiting_began_does_not_make_the_pace_faster():
    """Half of the work took 100 s by the events' own times, and all of them come at once."""
    events = [
        StateChanged(1, NOW, ExperimentState.RUNNING),
        progressed("a", 0),
        progressed("a", 50, at=100),
        StateChanged(4, NOW + timedelta(hours=1), ExperimentState.PAUSED),
        StateChanged(5, NOW + timedelta(hours=9), ExperimentState.RUNNING),
        progressed("a", 60, at=9 * 3600 + 10),
        progressed("a", 70, at=9 * 3600 + 40),
    ]
    now = iter(range(0, 1000, 10))
    stream = io.StringIO()
    follow(giving(events), "e", show=True, console=Console(file=stream), clock=lambda: next(now))
    assert "150 of 300 steps (50 %), about 1 min 40 s left" in stream.getvalue()
    assert "210 of 300 steps (70 %), about 1 min 30 s left" in stream.getvalue(), "as before the pause"


def test_no_time_is_left_once_the_job_has_ended():
    stream = io.StringIO()
    ended = [*EVENTS[:-1], StateChanged(6, NOW, ExperimentState.CANCELLED)]
    follow(giving(ended), "quick", show=True, console=Console(file=stream, force_terminal=True, width=120))
    drawn = stream.getvalue()
    assert "150/400" in drawn, "some steps were never done"
    last = drawn[drawn.rindex("all runs") :]
    assert "steps" in last
    assert "left" not in last
    assert ":" not in last


def test_a_file_gets_a_line_now_and_then():
    """Packs of 300 steps in all, a second between two events: a line when five seconds have gone by."""
    stream, now = io.StringIO(), [0.0]

    def coming(say):
        yield StateChanged(1, NOW, ExperimentState.RUNNING)
        yield progressed("a", 0)
        for done in (10, 20, 30, 40, 50, 60, 70, 80, 90, 100):
            now[0] += 1.0
            yield progressed("a", done, at=now[0])
        yield RunsChanged(9, NOW, RunState.DIVERGED, (0, 2))
        yield RunsChanged(9, NOW, RunState.DIVERGED, (1,))
        now[0] += 5.0
        yield progressed("a", 100)
        yield StateChanged(10, NOW, ExperimentState.SUCCEEDED)

    follow(coming, "quick", show=True, console=Console(file=stream), clock=lambda: now[0])
    assert stream.getvalue().splitlines() == [
        "quick is RUNNING",
        "150 of 300 steps (50 %), about 5 s left",
        "300 of 300 steps (100 %)",
        "a run has diverged: its loss is not finite (how many do is said at the end)",
        "300 of 300 steps (100 %), 3 runs diverged",
        "quick has ended",
    ]


def test_what_a_study_says_fits_the_terminal():
    once = SimpleNamespace(
        number=1,
        runs=6,
        why="the best rate of mup is sought at 0.0312..0.5",
        learned=["no answer yet, the best rate is not bracketed"],
    )
    study = SimpleNamespace(rounds=[once], spent=SimpleNamespace(runs=6, asked_runs=6, wall_seconds=1.0))
    shown = {}
    for terminal in (True, False):
        stream = io.StringIO()
        follow_study(
            giving([study]), show=True, console=Console(file=stream, width=40, force_terminal=terminal)
        )
        shown[terminal] = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", stream.getvalue())
    assert shown[False].splitlines() == [
        "round 1: 6 runs: the best rate of mup is sought at 0.0312..0.5",
        "    no answer yet, the best rate is not bracketed",
        "6 of 6 runs (100 %)",
    ]
    assert "round 1: 6 runs: the best rate of mup is\n    sought at 0.0312..0.5\n" in shown[True]
    assert "    no answer yet, the best rate is not\n        bracketed\n" in shown[True]


def test_a_notebook_gets_html_that_is_escaped():
    tally = Tally()
    tally.add(progressed("a", 50))
    text = cell_html(["<waiting> for cpus"], [*tally.bars(), Bar("\x1b[2J", 0, 1)], ", about 5 s left")
    assert "&lt;waiting&gt; for cpus" in text
    assert "all runs" in text
    assert "150 of 300 steps, about 5 s left" in text
    assert "value='50.0'" in text
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


def test_progress_can_be_turned_off_on_a_terminal():
    stream = io.StringIO()
    follow(giving(EVENTS), "quick", show=False, console=Console(file=stream, force_terminal=True))
    assert stream.getvalue() == ""
