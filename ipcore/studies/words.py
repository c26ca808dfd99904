"""Numbers, intervals, times and costs in words."""

from __future__ import annotations

import math
from typing import Final

from ipcore.studies.decision import Interval
from ipcore.words import counted

_THOUSANDS: Final = 1000
_TENTH: Final = 0.1


def number(value: float) -> str:
    """A number of a sentence.

    >>> number(0.034), number(-0.0004), number(0.00071), number(math.inf), number(16384.2)
    ('0.03', '0.00', '0.00071', 'inf', '16,384')
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else f"{value:g}"
    if abs(value) >= _THOUSANDS:
        return f"{value:,.0f}"
    if 0 < value < 0.005:
        return f"{value:.2g}"
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def interval_text(interval: Interval, level: str = "95 %") -> str:
    """An interval in brackets.

    >>> interval_text(Interval(0.03, -0.11, 0.17))
    '(95 %: -0.11 .. 0.17)'
    """
    return f"({level}: {number(interval.low)} .. {number(interval.high)})"


def confidence(error_rate: float) -> str:
    """The level of an interval.

    >>> confidence(0.05), confidence(0.001)
    ('95 %', '99.9 %')
    """
    return f"{100 * (1 - error_rate):.4g} %"


def duration(core_seconds: float | None) -> str:
    """Core time for people.

    >>> duration(41.2), duration(7200.0), duration(None), duration(0.3)
    ('41 core-seconds', '2.0 core-hours', 'core time unknown', '0.3 core-seconds')
    """
    if core_seconds is None:
        return "core time unknown"
    if core_seconds >= 3600:
        return f"{core_seconds / 3600:.1f} core-hours"
    if core_seconds >= 600:
        return f"{core_seconds / 60:.0f} core-minutes"
    return f"{core_seconds:.0f} core-seconds" if core_seconds >= 10 else f"{core_seconds:.2g} core-seconds"


def spent(runs: int, core_seconds: float | None) -> str:
    """The cost.

    >>> spent(252, 41.2)
    '252 runs, 41 core-seconds.'
    """
    time = "" if not core_seconds else f", {duration(core_seconds)}"
    return f"{counted(runs, 'run')}{time}."


def percent(part: float) -> str:
    """A part in per cent.

    >>> percent(0.143), percent(0.012), percent(0.00071), percent(math.inf)
    ('14 %', '1.2 %', '0.071 %', 'unknown')
    """
    if not math.isfinite(part):
        return "unknown"
    return f"{100 * part:.0f} %" if part >= _TENTH else f"{100 * part:.2g} %"
