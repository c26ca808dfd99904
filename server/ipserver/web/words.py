"""Formats values for the templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from iplab.results.numbers import SETTING_DIGITS, number


def shown(value: object) -> str:
    """The text of a table's cell: numbers to 4 significant digits, "-" for None.

    >>> shown(0.123456), shown(None), shown("mup")
    ('0.1235', '-', 'mup')
    """
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) and type(value) is float else str(value)


def setting(value: object) -> str:
    """The text of a setting: numbers to 6 significant digits."""
    return number(value, SETTING_DIGITS) if isinstance(value, float) else shown(value)


def moment(time: datetime | None) -> str:
    """A time as "YYYY-MM-DD HH:MM:SS" in UTC; "-" for None."""
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A duration as text.

    >>> span(0.4), span(75), span(4000)
    ('0 s', '75 s', '67 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def state(name: object) -> str:
    """The name of a state in words; also the suffix of its CSS class."""
    return str(name).lower().replace("_", " ")


def indented(value: object) -> str:
    """Plain values as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def compact(value: object) -> str:
    """A value of a spec on one line, as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "shown": shown,
    "setting": setting,
    "moment": moment,
    "span": span,
    "state": state,
    "indented": indented,
    "compact": compact,
}
