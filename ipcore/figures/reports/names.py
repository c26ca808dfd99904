"""Short names of layers and of groups of runs."""

from __future__ import annotations

from collections.abc import Iterable

from ipcore.figures.reports.checks import SubjectLike
from ipcore.figures.series import superscript


def layer_name(quantity: str, layer: int, layers: int) -> str:
    """A layer in figures: "h²", and "f" for the output.

    >>> layer_name("h", 2, 3), layer_name("h", 3, 3), layer_name("W", 12, 20)
    ('h²', 'f', 'W¹²')
    """
    if quantity == "h" and layer == layers:
        return "f"
    return f"{quantity}{superscript(layer)}"


def subject_names(subjects: Iterable[SubjectLike]) -> tuple[dict[SubjectLike, str], str]:
    """Short names of subjects by what differs between them, and what all of them share.

    Returns:
        Names, and the shared part ("relu, L = 3").
    """
    listed = list(dict.fromkeys(subjects))
    parts: list[tuple[str, ...]] = [parts_of(subject) for subject in listed]
    columns = list(zip(*parts, strict=True))
    differ = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    for i in reversed(differ):  # what the other parts tell already is left out
        fewer = [j for j in differ if j != i]
        if fewer and len({tuple(part[j] for j in fewer) for part in parts}) == len(parts):
            differ = fewer
    if not differ:
        differ = [0]
    names = {
        subject: ", ".join(part[i] for i in differ if part[i])
        for subject, part in zip(listed, parts, strict=True)
    }
    same = [column[0] for column in columns if len(set(column)) == 1 and column[0]]
    shared = ", ".join(part for part in same if part not in names.values())
    return names, shared


def parts_of(subject: SubjectLike) -> tuple[str, ...]:
    """Parameterization, depth, activation and base rate in words; "" for a rate that is not fixed."""
    intended = f" as {subject.reference}" if subject.reference != subject.parameterization else ""
    rate = f"base rate {subject.base_learning_rate:g}" if subject.base_learning_rate else ""
    return f"{subject.parameterization}{intended}", f"L = {subject.hidden_layers}", subject.activation, rate
