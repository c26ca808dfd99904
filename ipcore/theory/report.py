"""An analysis or a completion as plain text of at most 80 columns in its table of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ipcore.theory.maxplus import Size
from ipcore.theory.table import Row, format_rows
from ipcore.words import counted

if TYPE_CHECKING:
    from ipcore.theory.analysis import Analysis, StepSizes
    from ipcore.theory.completion import Completion
    from ipcore.theory.stable_rates import StableRates

_CELL: Final = 19
_EQUAL: Final = 4  # as many equal exponents in a row are folded
_PROGRESSION: Final = 5  # as many with one difference, likewise
_HEADINGS: Final = ("updates", "h^1 .. h^L", "change of h", "f", "change", "")


def analysis_text(found: Analysis) -> str:
    """Setting, exponents, sizes per step, verdict, source, advice, notes."""
    p = found.parameterization
    choices = found.epsilon[:1] if len(set(found.epsilon)) == 1 else found.epsilon
    epsilon = f" (epsilon: {', '.join(choices)})" if choices else ""
    blocks = f", residual blocks of {found.block_matrices}" if found.block_matrices else ""
    normalized = "" if found.normalization == "none" else f", normalization {found.normalization}"
    network = f"{found.activation}{blocks}{normalized}"
    lines = [
        f"{_depth(p.hidden_layers)}, {found.optimizer}{epsilon}, {network}, {found.loss}",
        "",
        p.table(),
        "",
        "sizes are m^e; e after each number of updates (-: exactly zero)",
        *_sizes(found.steps),
        "",
        found.summary,
        f"source: {found.source}",
    ]
    if found.advice:
        lines.append(f"advice: {found.advice}")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def completion_text(found: Completion) -> str:
    """Setting, exponents, and why these rates."""
    p = found.parameterization
    head = f"{_depth(p.hidden_layers)}, {found.optimizer}, {found.activation}"
    changes = f"change of h^1 .. h^L per step: {'  '.join(folded(found.changes))}"
    lines = [head, "", p.table(), "", changes, "", found.summary]
    if found.stable is not None:
        lines += ["", *_stable_rates(found.stable)]
    return "\n".join(lines)


def _stable_rates(found: StableRates) -> list[str]:
    """The polyhedron as a system of inequalities with its numbers, and its points."""
    rows = [
        Row("k", _texts(found.unit)),
        Row("v", ("", *_texts(found.passed_on[1:]))),
        Row("R", (*_texts(found.largest), "0")),
        Row("h", (*_texts(found.start), "")),
    ]
    if found.unit_bias:
        rows.insert(1, Row("k of biases", _texts(found.unit_bias)))
    lines = [
        "stable rates of step 0: all c with, from the first layer up,",
        "  y_l = max(v_l + change of x^(l-1), k_l - c_l + size of x^(l-1)) <= R_l",
        "  (y_l: change of h^l by step 0; h: its size before; the inputs have size 0 and do not change)",
        "",
        format_rows(rows),
        "",
        "Pareto points: rates of step 0 of which none can be raised, by the changes they make",
    ]
    for point in found.points:
        first = point.parameterization.phases[0]
        lines.append(f"  {'  '.join(folded(point.changes))}: c = {'  '.join(folded(first.c))}")
    if not found.all_points:
        lines.append(f"  ... and more than these {len(found.points)}, and those with changes between")
    elif len(found.points) > 1:
        lines.append("  and those with changes between")
    return lines


def _texts(entries: Sequence[Size]) -> tuple[str, ...]:
    return tuple(_text(entry) for entry in entries)


def folded(entries: Sequence[Size]) -> list[str]:
    """Exponents as texts; long runs of equal ones, and of equal differences, in short.

    >>> from fractions import Fraction
    >>> folded([Fraction(0)] * 98 + [None])
    ['0 (x98)', '-']
    >>> folded([Fraction(-i, 2) for i in range(12)])
    ['0', '-1/2 .. -11/2']
    """
    texts: list[str] = []
    i = 0
    while i < len(entries):
        equal = _run(entries, i, same=True)
        steps = _run(entries, i, same=False)
        if equal >= _EQUAL:
            texts.append(f"{_text(entries[i])} (x{equal})")
            i += equal
        elif steps >= _PROGRESSION:
            texts += [_text(entries[i]), f"{_text(entries[i + 1])} .. {_text(entries[i + steps - 1])}"]
            i += steps
        else:
            texts.append(_text(entries[i]))
            i += 1
    return texts


def _run(entries: Sequence[Size], start: int, *, same: bool) -> int:
    """Number of entries from `start` on that are equal, or ascend or descend by the same difference."""
    difference: Size = None
    for length, (left, right) in enumerate(pairwise(entries[start:]), start=1):
        if same or left is None or right is None:
            if not same or left != right:
                return length
        elif difference is None:
            difference = right - left
        elif right - left != difference:
            return length
    return len(entries) - start


def _sizes(steps: Sequence[StepSizes]) -> list[str]:
    """A table in which steps with the same sizes share a row."""
    grid: list[list[list[str]]] = [[[heading] for heading in _HEADINGS]]
    first = 0
    for i, sizes in enumerate(steps):
        last = i == len(steps) - 1
        if not last and _same(sizes, steps[i + 1]):
            continue
        # A step left out is as the one before.
        until = sizes.step if last else steps[i + 1].step - 1
        start = steps[first].step
        grid.append(
            [
                [f"{start}" if until == start else f"{start}..{until}"],
                _wrapped(folded(sizes.h)),
                _wrapped(folded(sizes.h_change)),
                [_text(sizes.f)],
                [_text(sizes.f_change)],
                ["" if sizes.exact else "at most"],
            ]
        )
        first = i + 1
    widths = [max(len(line) for row in grid for line in row[i]) for i in range(len(_HEADINGS))]
    return [line for row in grid for line in _lines(row, widths)]


def _same(left: StepSizes, right: StepSizes) -> bool:
    one, other = ((s.h, s.h_change, s.f, s.f_change, s.exact) for s in (left, right))
    return one == other


def _wrapped(texts: Sequence[str]) -> list[str]:
    lines = [""]
    for text in texts:
        longer = f"{lines[-1]}  {text}" if lines[-1] else text
        if lines[-1] and len(longer) > _CELL:
            lines.append(text)
        else:
            lines[-1] = longer
    return lines


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    height = max(len(cell) for cell in row)
    return [
        " | ".join(
            (cell[i] if i < len(cell) else "").ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip(" |")
        for i in range(height)
    ]


def _text(size: Size) -> str:
    return "-" if size is None else str(size)


def _depth(hidden_layers: int) -> str:
    return counted(hidden_layers, "hidden layer")
