"""Tables as wide as a terminal.

Numbers, ids and states are never cut. On a narrow terminal headings wrap first, then columns move together,
then long headings give way to short ones, then labels wrap between words and after hyphens, then a mean and
its deviation or interval go on two lines, and at last labels break within words and intervals in the middle.
Names given by people are cut with an ellipsis instead of being wrapped. What does not fit even so is left to
the terminal to wrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.table import Column, Table
from rich.text import Text

# Space between columns, wider if there is room.
_WIDE_GAP, _NARROW_GAP = 3, 1
# Labels break within words only down to this width.
_LEAST_WIDTH = 8
# Names are cut only down to this width.
_LEAST_NAME = 12
# Headings, which may be ids, break within words only down to this width.
_LEAST_HEADING: Final = 12
# Unbreakable parts: an interval; a word up to its hyphens, commas and the like; a number with its sign.
_INTERVAL: Final = r"\([^()\s]+ \.\. [^()\s]+\)"
_PART: Final = r"[(\[]?-?[^\s,:/_-]+[,:/_-]*|[,:/_-]+"
# Abbreviations of headings; filters, `--sort` and tables accept both.
SHORT: Final = {
    "parameterization": "label",
    "hidden layers": "L",
    "activation": "act",
    "base learning rate": "base rate",
    "predicted regime": "theory",
    "committed steps": "steps",
    "unfinished": "no result",
}

# Abbreviations of words in cells.
_SHORT_CELLS: Final = {"feature learning": "features", "controlled divergence": "controlled"}


def fitted(table: Table, width: int, encoding: str = "utf-8") -> tuple[Table, int]:
    """A table of `iplab.display.tables.table_of` fitted to a width, and the width that it needs.

    Args:
        table: Columns that may be wrapped have the overflow "fold", those that may be cut "crop"; those of
            numbers are justified right.
        width: Characters.
        encoding: Encoding of the output; where it lacks "±" there is "+-".
    """
    plain = not _has("±", encoding)
    ellipsis = "…" if _has("…", encoding) else "..."
    columns = [_Sizes(column, plain=plain, ellipsis=ellipsis) for column in table.columns]
    short, gap, room = False, _WIDE_GAP, width
    for short, gap in ((False, _WIDE_GAP), (False, _NARROW_GAP), (True, _WIDE_GAP), (True, _NARROW_GAP)):
        if short:
            for column in columns:
                column.shorten()
        room = width - gap * (len(columns) - 1)
        if sum(column.floors(short)[0] for column in columns) <= room:
            break
    widths = [max(column.full, cell_len(column.heading(short))) for column in columns]
    for floors in zip(*(column.floors(short) for column in columns), strict=True):
        while sum(widths) > room and (larger := [i for i, w in enumerate(widths) if w > floors[i]]):
            widths[max(larger, key=widths.__getitem__)] -= 1
    drawn = Table(
        *(column.drawn(short, chosen) for column, chosen in zip(columns, widths, strict=True)),
        box=table.box,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1) if gap == _WIDE_GAP else (0, 0),
    )
    for row in zip(*(c.wrapped(chosen) for c, chosen in zip(columns, widths, strict=True)), strict=True):
        drawn.add_row(*row)
    return drawn, sum(widths) + gap * (len(widths) - 1)


def abbreviations(table: Table, drawn: Table) -> dict[str, str]:
    """The abbreviations that `fitted` used, with the words that they replace."""
    pairs = [
        (str(old.header), str(new.header)) for old, new in zip(table.columns, drawn.columns, strict=True)
    ]
    headings = {new: old for old, new in pairs if SHORT.get(old) == new}
    cells = {str(cell) for column in table.columns for cell in column.cells} if headings else set()
    return headings | {short: long for long, short in _SHORT_CELLS.items() if long in cells}


class _Sizes:
    """A column and its minimum width."""

    def __init__(self, column: Column, *, plain: bool, ellipsis: str) -> None:
        self._column = column
        self._ellipsis = ellipsis
        self._cells = [str(cell).replace("±", "+-") if plain else str(cell) for cell in column.cells]
        self._folds = column.overflow == "fold"
        self._cuts = column.overflow == "crop"
        if self._cuts:  # one line each
            self._cells = [" ".join(cell.split()) for cell in self._cells]
        self._numbers = column.justify == "right"
        self._measure()

    def _measure(self) -> None:
        """Widths of the longest line, of the longest word, and of the longest word outside of intervals."""
        lines = [line for cell in self._cells for line in cell.splitlines()]
        self.full = max(map(cell_len, lines), default=0)
        self._word, self._least = (
            max((cell_len(word) for line in lines for word in self._words(line, intervals=whole)), default=0)
            for whole in (True, False)
        )

    def _words(self, line: str, *, intervals: bool, spaces: bool = False) -> list[str]:
        return _words(line, hyphens=not self._numbers, intervals=intervals, spaces=spaces)

    def shorten(self) -> None:
        """Replace long words by abbreviations."""
        self._cells = [_SHORT_CELLS.get(cell, cell) for cell in self._cells]
        self._measure()

    def heading(self, short: bool) -> str:
        """The heading, abbreviated if this saves room."""
        long = str(self._column.header)
        return SHORT.get(long, long) if short else long

    def floors(self, short: bool) -> tuple[int, int, int, int]:
        """Minimum widths: unwrapped, labels wrapped by words, spreads on two lines, labels within words."""
        heading = max(map(cell_len, _words(self.heading(short), hyphens=True)), default=0)
        least_heading = min(heading, _LEAST_HEADING)
        whole, by_words = max(self.full, heading), max(self._word, heading)
        if self._cuts:
            least = max(min(self.full, _LEAST_NAME), heading)
            return whole, least, least, least
        if not self._folds:
            return whole, whole, whole, max(self.full, least_heading)
        if self._numbers:
            return whole, whole, by_words, max(self._least, least_heading)
        return whole, by_words, by_words, max(min(by_words, _LEAST_WIDTH), least_heading)

    def drawn(self, short: bool, width: int) -> Column:
        """The column as it is shown."""
        column, heading = self._column, self.heading(short)
        if max(map(cell_len, heading.split()), default=0) > width:  # an id: rich breaks only at spaces
            heading = _broken(_words(heading, hyphens=True, spaces=True), width)
        return Column(heading, justify=column.justify, overflow=column.overflow, width=width)

    def wrapped(self, width: int) -> list[Text]:
        """The cells, broken between their parts where necessary, because rich wraps only at spaces."""
        if self._cuts:
            return [Text(_cut(cell, width, self._ellipsis)) for cell in self._cells]
        if not self._folds or self.full <= width:
            return [Text(cell) for cell in self._cells]
        return [Text("\n".join(self._lines(cell, width))) for cell in self._cells]

    def _lines(self, cell: str, width: int) -> Iterator[str]:
        for line in cell.splitlines():
            yield _broken(self._words(line, intervals=self._word <= width, spaces=True), width)


def _has(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _words(text: str, *, hyphens: bool, intervals: bool = True, spaces: bool = False) -> list[str]:
    """Unbreakable parts.

    Args:
        text: One line.
        hyphens: Whether it may be broken after hyphens, commas and the like too.
        intervals: Whether intervals stay whole.
        spaces: Whether the spaces between are listed too.

    >>> _words("ip-llr calibrated", hyphens=True)
    ['ip-', 'llr', 'calibrated']
    >>> _words("-0.21 (-0.263 .. -0.157)", hyphens=True)
    ['-0.21', '(-0.263 .. -0.157)']
    >>> _words("0.94 ± 0.02", hyphens=False, spaces=True)
    ['0.94', ' ', '±', ' ', '0.02']
    """
    parts = [_INTERVAL] * intervals + [r"\s+"] * spaces + [_PART if hyphens else r"\S+"]
    return re.findall("|".join(parts), text)


def _cut(text: str, width: int, ellipsis: str) -> str:
    """A line of at most a width.

    >>> _cut("Quickstart: tuned at width 64", 14, "…")
    'Quickstart: t…'
    """
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - cell_len(ellipsis), 0)).rstrip() + ellipsis


def _broken(parts: Sequence[str], width: int) -> str:
    r"""Lines of at most a width, broken between the parts, and within longer parts.

    >>> _broken(["0.94", " ", "±", " ", "0.02"], 6)
    '0.94 ±\n0.02'
    """
    lines, current = [], ""
    for part in parts:
        if cell_len(current + part.rstrip()) <= width:
            current += part
            continue
        if current.strip():
            lines.append(current.rstrip())
        rest = part.lstrip()
        while cell_len(rest) > width:
            lines.append(rest[:width])
            rest = rest[width:]
        current = rest
    return "\n".join([*lines, current.rstrip()] if current.strip() or not lines else lines)
