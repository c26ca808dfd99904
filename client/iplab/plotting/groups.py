"""Arranges runs in lines and panels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ipcore.figures import Role
from iplab.results.numbers import SETTING_DIGITS, number
from iplab.results.settings import AXES, Settings, varying

_ORDERED: Final = {"hidden_layers", "width", "base_learning_rate"}
_MAX_PANELS: Final = 12
_ALONG: Final = 4
# Axes to compare within a panel, in order of preference.
_LINES_FIRST: Final = ("parameterization", "width", "hidden_layers", "activation", "base_learning_rate")


@dataclass(frozen=True, slots=True)
class Groups:
    """Arrangement of runs in lines and panels.

    Attributes:
        lines: Axes with a line per value.
        panels: Axes with a panel per value.
        shared: Settings that all runs share, in words.
        columns: Number of panels in a row, so that one axis varies along the rows.
    """

    lines: tuple[str, ...]
    panels: tuple[str, ...]
    shared: str
    columns: int

    @property
    def role(self) -> Role:
        """Role of the lines."""
        ordered = len(self.lines) == 1 and self.lines[0] in _ORDERED
        return Role.ORDERED if ordered else Role.GROUP

    def role_of(self, settings: Settings) -> Role:
        """Role of a run's line. Among widths, the infinite one is the limit."""
        limit = self.lines == ("width",) and math.isinf(settings.width)
        return Role.LIMIT if limit else self.role

    def line(self, settings: Settings) -> str:
        """Name of a run's line."""
        return named(settings, self.lines) or "all runs"

    def panel(self, settings: Settings) -> str:
        """Title of a run's panel."""
        return named(settings, self.panels)


def arrange(settings: Iterable[Settings], by: Sequence[str], leave: Sequence[str] = ()) -> Groups:
    """Choose lines by the requested axes, or else by the first axis that varies, and panels by the others.

    Args:
        settings: Settings that all runs share.
        by: Axes with a line per value; () chooses one.
        leave: Axes that are drawn horizontally or averaged over.
    """
    listed = list(settings)
    free = [name for name in varying(listed) if name not in leave]
    lines = tuple(by) or tuple(name for name in _LINES_FIRST if name in free)[:1]
    counts = {name: len({getattr(one, name) for one in listed}) for name in free if name not in lines}
    if len(counts) > 1 and _follows(listed, [*lines, *counts]):
        counts.pop("base_learning_rate", None)
    # The axis with the most values, up to four, varies along the rows.
    panels = tuple(sorted(counts, key=lambda name: (counts[name] <= _ALONG, counts[name])))
    columns = counts[panels[-1]] if panels else 1
    columns = columns if columns <= _ALONG else 3
    same = [name for name in AXES if name not in {*free, *leave, *lines, "seed"}]
    shared = named(listed[0], same) if listed else ""
    return Groups(lines, panels, shared, columns)


def _follows(settings: Sequence[Settings], axes: Sequence[str]) -> bool:
    """Whether the other axes determine the base rate, as when each parameterization has one."""
    others = [name for name in axes if name != "base_learning_rate"]
    known = {tuple(getattr(one, name) for name in others): one.base_learning_rate for one in settings}
    return all(
        known[tuple(getattr(one, name) for name in others)] == one.base_learning_rate for one in settings
    )


def named(settings: Settings, axes: Iterable[str]) -> str:
    """Values of axes in words: "mup, L = 3, m = 64, relu, η = 0.1"."""
    return ", ".join(_word(name, getattr(settings, name)) for name in axes)


def _word(name: str, value: Any) -> str:
    match name:
        case "hidden_layers":
            return f"L = {value}"
        case "width":
            return "m = ∞" if math.isinf(value) else f"m = {value}"
        case "base_learning_rate":
            return f"η = {number(value, SETTING_DIGITS)}"
        case "seed":
            return f"seed {value}"
    return str(value)


def sorted_by(settings: Mapping[int, Settings], axes: Sequence[str]) -> list[int]:
    """Indices sorted by the values of axes; values without an order keep theirs."""
    order: dict[str, dict[Any, int]] = {name: {} for name in axes}
    for one in settings.values():
        for name in axes:
            order[name].setdefault(getattr(one, name), len(order[name]))

    def place(key: int) -> tuple[Any, ...]:
        one = settings[key]
        return tuple(
            getattr(one, name) if name in _ORDERED or name == "seed" else order[name][getattr(one, name)]
            for name in axes
        )

    return sorted(settings, key=place)


def within(panels: Sequence[Any], what: str) -> tuple[Sequence[Any], str]:
    """The panels that fit on a page, and a sentence about those left out."""
    if len(panels) <= _MAX_PANELS:
        return panels, ""
    return panels[
        :_MAX_PANELS
    ], f"Shown are {_MAX_PANELS} of {len(panels)} {what}: narrow it down by a filter."
