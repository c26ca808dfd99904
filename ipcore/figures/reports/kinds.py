"""The figure of each kind of check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from ipcore.figures.powers import Law, LawPanel, PowerLaws
from ipcore.figures.reports.checks import CheckLike
from ipcore.figures.reports.laws import by_step, law_of, meaning_of, sentences_of
from ipcore.figures.reports.names import layer_name, subject_names
from ipcore.figures.series import Role
from ipcore.words import counted

_MAX_PANELS: Final = 12


def _coordinates(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    return by_step(checks, meanings, "mean size of h and of its change", _coordinate_law, _coordinate_title)


def _isolated(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    quantity = "mean change by one layer's update alone"
    return by_step(checks, meanings, quantity, _isolated_law, lambda step: f"update {step}")


def _isolated_law(check: CheckLike) -> Law:
    """The law of a matrix ("W²") or a bias ("b²"); those of the output are a separate group."""
    matrix = "bias" not in check.quantity
    name = layer_name("W" if matrix else "b", check.layer, check.subject.layers)
    output = check.layer == check.subject.layers
    return law_of(check, name, Role.APART if output and matrix else Role.ORDERED)


def _alignment(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    return by_step(
        checks, meanings, "alignment ratio of the updates", _alignment_law, lambda step: f"step {step}"
    )


def _coordinate_title(step: int) -> str:
    return f"h at step {step}" if step == 0 else f"change, step {step}"


def _coordinate_law(check: CheckLike) -> Law:
    output = check.layer == check.subject.layers
    return law_of(
        check, layer_name("h", check.layer, check.subject.layers), Role.APART if output else Role.ORDERED
    )


def _alignment_law(check: CheckLike) -> Law:
    """Theta of a matrix's updates, theta' of them in the backward pass, omega of its initial entries."""
    letter = {"alignment_backward": "θ′", "alignment_change": "ω"}.get(check.quantity, "θ")
    output = check.layer == check.subject.layers
    name = "readout" if output else layer_name("W", check.layer, check.subject.layers)
    return law_of(check, f"{letter} {name}", Role.APART if output and letter == "θ" else Role.ORDERED)


def _stationarity(
    checks: Sequence[CheckLike], everything: Sequence[CheckLike], meanings: tuple[str, ...]
) -> PowerLaws:
    """A panel per parameterization and activation, a line per depth, with theory's slope if known."""
    known = {
        (check.subject, check.layer, check.step): check for check in everything if check.kind == "COORDINATE"
    }
    names, shared = subject_names(check.subject for check in checks)
    depths = {check.subject.hidden_layers for check in checks}
    panels: dict[str, list[Law]] = {}
    for check in checks:
        coordinate = known.get((check.subject, check.layer, check.step))
        by_depth = len(depths) > 1
        depth = f"L = {check.subject.hidden_layers}"
        name = depth if by_depth else names[check.subject]
        rest = ", ".join(part for part in names[check.subject].split(", ") if part != depth)
        panels.setdefault(rest if by_depth else "", []).append(
            law_of(check, name, Role.ORDERED if by_depth else Role.GROUP, coordinate)
        )
    step = max(check.step for check in checks)
    sentences = sentences_of(checks, names)
    return PowerLaws(
        "mean change of the output |fₜ − f₀|",
        tuple(LawPanel(title, tuple(laws)) for title, laws in panels.items()),
        3,
        f"Change of the output after {step} updates{f' ({shared})' if shared else ''}",
        min(check.seeds for check in checks),
        meaning_of(checks, sentences, 1),
    )


def _calibrated(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    names, shared = subject_names(check.subject for check in checks)
    panels = []
    for subject, group in groupby(checks, key=lambda check: check.subject):
        laws = tuple(law_of(check, f"matrix {check.layer}", Role.ORDERED) for check in group)
        panels.append(LawPanel(names[subject], laws))
    return PowerLaws(
        "calibrated base rate",
        tuple(panels[:_MAX_PANELS]),
        3,
        f"Calibrated first rates of the matrices{f' ({shared})' if shared else ''}",
        min(check.seeds for check in checks),
        meaning_of(checks, (), 1),
    )


def _drift(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    names, shared = subject_names(check.subject for check in checks)
    laws = tuple(law_of(check, names[check.subject], Role.GROUP) for check in checks)
    sentences = sentences_of(checks, names)
    of = f" ({shared})" if shared else ""
    return PowerLaws(
        "best base learning rate",
        (LawPanel("", laws),),
        1,
        f"Best base rate against the width{of}; slopes are octaves per doubling",
        min(check.seeds for check in checks),
        meaning_of(checks, sentences, 1),
        base=2,
    )


def _limit(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    """A panel per step, a line per subject; where any has outputs, those that have."""
    of_outputs = any(check.quantity for check in checks)
    checks = [check for check in checks if bool(check.quantity) is of_outputs]
    what, whose = ("outputs on the test set", "those") if of_outputs else ("final test loss", "that")
    names, shared = subject_names(check.subject for check in checks)
    panels = tuple(
        LawPanel(
            f"after {counted(step, 'update')}" if step else "",
            tuple(
                _positive(law_of(check, names[check.subject], Role.GROUP))
                for check in checks
                if check.step == step
            ),
        )
        for step in sorted({check.step for check in checks})
    )[-_MAX_PANELS:]
    sentences = sentences_of(checks, names)
    return PowerLaws(
        f"relative distance of the {what}",
        panels,
        min(3, len(panels)),
        f"Distance of the {what} from {whose} of infinite width{f' ({shared})' if shared else ''}",
        min(check.seeds for check in checks),
        meaning_of(checks, sentences, 1),
        means="root mean squares",
    )


def _positive(law: Law) -> Law:
    """A line whose intervals end at a tenth of the value where they reach 0, which has no logarithm."""
    return replace(
        law,
        sizes=tuple(
            size if size.low is None else replace(size, low=max(size.low, size.value / 10))
            for size in law.sizes
        ),
    )


Maker = Callable[[Sequence[CheckLike], Sequence[CheckLike], tuple[str, ...]], PowerLaws]

KINDS: Final[Mapping[str, tuple[str, Maker]]] = {
    "coordinates": ("COORDINATE", _coordinates),
    "isolated-updates": ("ISOLATED_UPDATE", _isolated),
    "drift": ("RATE_TRANSFER", _drift),
    "calibrated-rates": ("CALIBRATED_RATE", _calibrated),
    "stationarity": ("STATIONARITY", _stationarity),
    "alignment-exponents": ("ALIGNMENT", _alignment),
    "limit": ("LIMIT", _limit),
}
