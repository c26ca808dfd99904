"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ipcore.analysis import Estimate


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers.

    >>> print(table(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|---:|
    | x | 1 |
    """
    lines = [head, *rows]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([written[0], "|---|" + "---:|" * (len(head) - 1), *written[1:]])


def slope(estimate: Estimate) -> str:
    """A slope with half the width of its interval: "-0.52 ± 0.03"."""
    half = max(estimate.high - estimate.value, estimate.value - estimate.low)
    return f"{estimate.value:.2f} ± {half:.2f}"


def mean_sd(values: Sequence[float]) -> str:
    """Mean and sample standard deviation of accuracies: "0.9462 ± 0.0046"; "-" of none."""
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    sd = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {sd:.4f}"
