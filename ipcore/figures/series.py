"""Series of a figure: their roles, which decide how they look, and the words of captions on them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipcore.figures.style import Look


_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(number: int) -> str:
    """A whole number as a superscript: "¹²"."""
    return str(number).translate(_SUPERSCRIPTS)


def measured_text(measured: str, means: str, seeds: int, *, bands: bool) -> str:
    """The first sentence of a caption: what was measured, and what its points and bands are.

    >>> measured_text("MNIST", "geometric means", 3, bands=True)
    'MNIST; geometric means over 3 seeds, bands: 95 % intervals.'
    """
    behind = "1 seed" if seeds == 1 else f"{means} over {seeds} seeds"
    return f"{measured}; {behind}{', bands: 95 % intervals' if bands else ''}."


class Role(StrEnum):
    """Relation of a series to the others."""

    ORDERED = "ordered"  # a member of a family with an order: layers, widths, depths
    APART = "apart"  # beside such a family: the output
    GROUP = "group"  # one of several without an order: parameterizations
    LIMIT = "limit"  # the infinite-width limit, or a target: black


def looks(series: Iterable[tuple[str, Role]]) -> dict[str, Look]:
    """The look of every name, the same in all panels, in the order of a legend.

    Args:
        series: Names with their roles, as they come; a name may come again.
    """
    from ipcore.figures import style  # noqa: PLC0415 - matplotlib

    names: dict[Role, dict[str, None]] = {role: {} for role in Role}
    for name, role in series:
        names[role][name] = None
    ordered = names[Role.ORDERED]
    found = {name: style.ordered(i, len(ordered)) for i, name in enumerate(ordered)}
    found |= {name: style.group(i) for i, name in enumerate(names[Role.GROUP])}
    found |= {name: style.apart() for name in names[Role.APART]}
    return found | {name: style.limit() for name in names[Role.LIMIT]}
