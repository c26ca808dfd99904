"""Exponent tables as papers print them: first | hidden | last, or a row per layer where layers differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of exponent of every layer.

    Attributes:
        label: "a", "c (step 0)".
        entries: L+1 texts.
    """

    label: str
    entries: tuple[str, ...]


def format_rows(rows: Sequence[Row]) -> str:
    """Rows of exponents as aligned text.

    Args:
        rows: At least one, all with the same L+1 >= 2 entries.

    Returns:
        A column each for the first, the hidden (2..L) and the last matrix where the hidden ones agree in
        every row; otherwise a line per layer.

    >>> print(format_rows([Row("a", ("0", "1", "1", "1")), Row("b", ("0", "0", "0", "0"))]))
      | first | hidden | last
    a |     0 |      1 |    1
    b |     0 |      0 |    0
    """
    layers = len(rows[0].entries)
    hidden_agree = all(len(set(row.entries[1:-1])) <= 1 for row in rows)
    if not hidden_agree:
        grid = [["layer", *[row.label for row in rows]]]
        grid += [[str(i + 1), *[row.entries[i] for row in rows]] for i in range(layers)]
    elif layers == 2:
        grid = [["", "first", "last"], *[[row.label, *row.entries] for row in rows]]
    else:
        grid = [["", "first", "hidden", "last"]]
        grid += [[row.label, row.entries[0], row.entries[1], row.entries[-1]] for row in rows]
    return _align(grid)


def _align(grid: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
    return "\n".join(
        " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in grid
    )
