"""Progress: sums per group of runs, as bars on terminals, lines in files, HTML in notebooks."""

import io
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from rich.console import Console
from rich.progress import Progress

from iplab.display.progress import Tally, _html, columns, follow, follow_study
from iplab.results.events import Notice, PackProgressed, RunsChanged, StateChanged
from iplab.results.states import ExperimentState, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def progressed(pack, committed, *, width=64, runs=3, sequence=1, second=0.0):
    return PackProgressed(
        sequence, NOW + timedelta(seconds=second), pack, 4, width, "relu", runs, committed, 100
    )


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
    follow(EVENTS, "quick", show=True, console=Console(file=stream, force_terminal=True, width=120))
    text = stream.getvalue()
    assert "4 hidden layers, width 64, relu" in text
    assert "150/400" in text
    assert "all runs" in text
    assert "quick is SUCCEEDED" in text
    assert "waiting for [2] cpus" in text


def test_a_terminal_is_told_how_long_it_takes_and_nothing_while_no_pace_is_known():
    now = [0.0]
    console = Console(file=io.StringIO(), width=120)
    progress = Progress(*columns(), console=console, get_time=lambda: now[0])
    bar = progress.add_task("all runs", total=400)

    def shown():
        with console.capture() as capture:
            console.print(progress.get_renderable())
        return re.sub(r"[━╸╺]+", "", capture.get()).split()

    assert shown() == ["all", "runs", "0/400", "steps"]
    for second in (1, 2):
        now[0] = second
        progress.update(bar, completed=100 * second)
    assert shown() == ["all", "runs", "200/400", "steps", "2", "s", "left"]


def test_no_time_is_left_once_the_job_has_ended():
    stream = io.StringIO()
    ended = [*EVENTS[:-1], StateChanged(6, NOW, ExperimentState.CANCELLED)]
    follow(ended, "quick", show=True, console=Console(file=stream, force_terminal=True, width=120))
    drawn = stream.getvalue()
    assert "150/400" in drawn, "some steps were never done"
    last = drawn[drawn.rindex("all runs") :]
    assert "steps" in last
    assert "left" not in last
    assert ":" not in last


def test_a_file_gets_a_line_now_and_then():
    """Packs of 300 steps in all, a second between two events: a line when five seconds have gone by."""
    stream, now = io.StringIO(), [0.0]

    def coming():
        yield StateChanged(1, NOW, ExperimentState.RUNNING)
        yield progressed("a", 0)
        for done in (10, 20, 30, 40, 50, 60, 70, 80, 90, 100):
            now[0] += 1.0
            yield progressed("a", done, second=now[0])
        yield RunsChanged(9, NOW, RunState.DIVERGED, (0, 2))
        yield RunsChanged(9, NOW, RunState.DIVERGED, (1,))
        now[0] += 5.0
        yield progressed("a", 100)
        yield StateChanged(10, NOW, ExperimentState.SUCCEEDED)

    follow(coming(), "quick", show=True, console=Console(file=stream), clock=lambda: now[0])
    assert stream.getvalue().splitlines() == [
        "quick is RUNNING",
        "150 of 300 steps (50 %), about 5 s left",
        "300 of 300 steps (100 %)",
        "a run has diverged: its loss is not finite (the end says how many did)",
        "300 of 300 steps (100 %), 3 runs diverged",
        "quick has ended",
    ]


def test_the_time_that_is_left_counts_from_the_first_that_was_done():
    """Workers took an hour to start; then two steps of 300 took a second."""
    stream, now = io.StringIO(), [0.0]

    def coming():
        for second, done in ((0.0, 0), (3600.0, 1), (3610.0, 11)):
            now[0] = second
            yield progressed("a", done, second=second)

    follow(coming(), "quick", show=True, console=Console(file=stream), clock=lambda: now[0])
    assert stream.getvalue().splitlines() == [
        "3 of 300 steps (1 %)",
        "33 of 300 steps (11 %), about 1 min 29 s left",
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
        follow_study([study], show=True, console=Console(file=stream, width=40, force_terminal=terminal))
        shown[terminal] = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", stream.getvalue())
    assert shown[False].splitlines() == [
        "round 1: 6 runs: the best rate of mup is sought at 0.0312..0.5",
        "    no answer yet, the best rate is not bracketed",
    ]
    assert "round 1: 6 runs: the best rate of mup is\n    sought at 0.0312..0.5\n" in shown[True]
    assert "    no answer yet, the best rate is not\n        bracketed\n" in shown[True]


def test_a_notebook_gets_html_that_is_escaped():
    tally = Tally()
    tally.add(progressed("a", 50))
    text = _html(["<waiting> for cpus"], tally, ", about 5 s left")
    assert "&lt;waiting&gt; for cpus" in text
    assert "all runs" in text
    assert "150 of 300 steps, about 5 s left" in text
    assert "value='50.0'" in text


def test_progress_can_be_turned_off_on_a_terminal():
    stream = io.StringIO()
    follow(EVENTS, "quick", show=False, console=Console(file=stream, force_terminal=True))
    assert stream.getvalue() == ""
