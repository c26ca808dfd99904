"""How far a study is."""

from __future__ import annotations

import io

from rich.console import Console

from reproduction.progress import shown


def test_in_a_file_a_line_says_how_far_it_is_and_what_is_left() -> None:
    written, now = io.StringIO(), 0.0
    with shown(Console(file=written), "ranks", clock=lambda: now) as progress:
        for second, done in ((4.0, 0.1), (12.0, 0.25), (15.0, 0.3), (40.0, 0.5)):
            now = second
            progress(done)

    assert written.getvalue().splitlines() == [
        "ranks: 25%, about 36 s left",
        "ranks: 50%, about 40 s left",
    ]


def test_on_a_terminal_a_bar_fills() -> None:
    written = io.StringIO()
    with shown(Console(file=written, force_terminal=True, width=80), "ranks") as progress:
        progress(1.0)

    assert "100%" in written.getvalue()
