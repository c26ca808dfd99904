"""Progress: sums per group of runs, drawn on terminals only."""

import io
from datetime import UTC, datetime

from rich.console import Console

from iplab.events import Notice, PackProgressed, StateChanged
from iplab.progress import Tally, follow
from iplab.states import ExperimentState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def progressed(pack, committed, *, width=64, runs=3, sequence=1):
    return PackProgressed(sequence, NOW, pack, 4, width, "relu", runs, committed, 100)


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


def test_what_is_no_terminal_stays_empty():
    stream = io.StringIO()
    remaining = iter(EVENTS)
    follow(remaining, "quick", show=True, console=Console(file=stream))
    assert stream.getvalue() == ""
    assert list(remaining) == [], "all events were read all the same"


def test_progress_can_be_turned_off_on_a_terminal():
    stream = io.StringIO()
    follow(EVENTS, "quick", show=False, console=Console(file=stream, force_terminal=True))
    assert stream.getvalue() == ""
