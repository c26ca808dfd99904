"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "run"), counted(252, "run")
    ('1 run', '252 runs')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")
