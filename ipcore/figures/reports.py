"""From the checks of a report to figures: one code for the client's reports and for `ipcore.analysis`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Final, Protocol

from ipcore.figures.picture import PictureError
from ipcore.figures.powers import Law, LawPanel, PowerLaws, Size
from ipcore.figures.series import Role, superscript

MAX_ROWS: Final = 6
_MAX_PANELS: Final = 12
_VERBS: Final = {
    "disagrees": "disagree",
    "agrees": "agree",
    "not yet": "do not show at these widths yet",
    "not bracketed": "are not bracketed",
    "undecided": "are undecided",
}


class SubjectLike(Protocol):
    """Runs that are judged together, as reports of the client and of `ipcore.analysis` have them."""

    @property
    def parameterization(self) -> str:
        """Label."""

    @property
    def reference(self) -> str:
        """What theory was asked about."""

    @property
    def hidden_layers(self) -> int:
        """L."""

    @property
    def activation(self) -> str:
        """Name."""

    @property
    def base_learning_rate(self) -> float | None:
        """None or 0 where several rates are compared."""

    @property
    def layers(self) -> int:
        """Weight matrices; the last layer is the output."""


class CheckLike(Protocol):
    """One comparison of a slope with theory, as above."""

    @property
    def kind(self) -> str:
        """COORDINATE, ISOLATED_UPDATE, STATIONARITY, CALIBRATED_RATE, RATE_TRANSFER or ALIGNMENT."""

    @property
    def subject(self) -> SubjectLike:
        """Whose runs."""

    @property
    def quantity(self) -> str:
        """The metric, or ""."""

    @property
    def layer(self) -> int:
        """l, from 1; 0 where no layer is meant."""

    @property
    def step(self) -> int:
        """Updates done."""

    @property
    def predicted(self) -> Fraction | str | None:
        """Theory's exponent; None or "" where it has none."""

    @property
    def predicted_high(self) -> Fraction | str | None:
        """Upper end where it has an interval."""

    @property
    def upper_bound(self) -> bool:
        """Whether it is an upper bound only."""

    @property
    def slope(self) -> float | None:
        """Measured; None where none could be."""

    @property
    def low(self) -> float | None:
        """Lower end of its 95 % interval."""

    @property
    def high(self) -> float | None:
        """Upper end."""

    @property
    def expected(self) -> float | None:
        """Slope that the measured parts of a change give at these widths."""

    @property
    def verdict(self) -> str:
        """A string or an enum of strings."""

    @property
    def sentence(self) -> str:
        """All of it in words."""

    @property
    def seeds(self) -> int:
        """How many were used."""

    @property
    def sizes(self) -> Sequence[tuple[int, float, float | None, float | None]]:
        """Width, value, lower and upper end of its 95 % interval."""


def report_pictures(checks: Iterable[CheckLike], meanings: Iterable[str] = ()) -> dict[str, PowerLaws]:
    """Every figure that the checks of a report give, by the name of its kind, the most telling first.

    Args:
        checks: Of one report.
        meanings: Sentences of its conclusions, for captions.
    """
    listed = list(checks)
    found = {}
    for name, (kind, make) in _KINDS.items():
        chosen = [check for check in listed if check.kind == kind]
        if chosen:
            found[name] = make(chosen, listed, tuple(meanings))
    return found


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
    parts: list[tuple[str, ...]] = [_parts(subject) for subject in listed]
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


def _parts(subject: SubjectLike) -> tuple[str, ...]:
    intended = f" as {subject.reference}" if subject.reference != subject.parameterization else ""
    rate = f"base rate {subject.base_learning_rate:g}" if subject.base_learning_rate else ""
    return f"{subject.parameterization}{intended}", f"L = {subject.hidden_layers}", subject.activation, rate


def _coordinates(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    return _by_step(checks, meanings, "mean size of h and of its change", _coordinate_law, _coordinate_title)


def _isolated(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    quantity = "mean change by one layer's update alone"
    return _by_step(checks, meanings, quantity, _isolated_law, lambda step: f"update {step}")


def _isolated_law(check: CheckLike) -> Law:
    """Of a matrix "W²", of a bias "b²"; those of the output stand apart."""
    matrix = "bias" not in check.quantity
    name = layer_name("W" if matrix else "b", check.layer, check.subject.layers)
    output = check.layer == check.subject.layers
    return _law(check, name, Role.APART if output and matrix else Role.ORDERED)


def _alignment(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    return _by_step(
        checks, meanings, "alignment ratio of the updates", _alignment_law, lambda step: f"step {step}"
    )


def _by_step(
    checks: Sequence[CheckLike],
    meanings: tuple[str, ...],
    quantity: str,
    law: Callable[[CheckLike], Law],
    title: Callable[[int], str],
) -> PowerLaws:
    """A row per subject, a panel per step."""
    steps = sorted({check.step for check in checks})
    if len(steps) > 4:
        steps = [*steps[:3], steps[-1]]
    subjects = list(dict.fromkeys(check.subject for check in checks))
    shown = subjects[:MAX_ROWS]
    panels = tuple(
        LawPanel(
            title(step),
            tuple(law(check) for check in checks if (check.subject, check.step) == (subject, step)),
        )
        for subject in shown
        for step in steps
    )
    return PowerLaws(
        quantity,
        panels,
        len(steps),
        f"{quantity[0].upper()}{quantity[1:]} against the width",
        min(check.seeds for check in checks),
        _meaning(checks, meanings, len(subjects)),
        headings=tuple(", ".join(part for part in _parts(subject) if part) for subject in shown),
    )


def _meaning(checks: Sequence[CheckLike], meanings: tuple[str, ...], subjects: int) -> str:
    counts = Counter(str(check.verdict) for check in checks)
    said = ", ".join(f"{counts[name]} {verb}" for name, verb in _VERBS.items() if counts[name])
    parts = [f"Of {len(checks)} comparisons: {said}."]
    if subjects > MAX_ROWS:
        parts.append(f"Shown are the first {MAX_ROWS} of {subjects} groups of runs.")
    meanings = tuple(dict.fromkeys(meanings))  # two groups of runs may end alike
    if len(meanings) <= 2:
        parts += [f"{meaning[0].upper()}{meaning[1:].rstrip('.')}." for meaning in meanings if meaning]
    return " ".join(parts)


def _coordinate_title(step: int) -> str:
    return f"h at step {step}" if step == 0 else f"change, step {step}"


def _coordinate_law(check: CheckLike) -> Law:
    output = check.layer == check.subject.layers
    return _law(
        check, layer_name("h", check.layer, check.subject.layers), Role.APART if output else Role.ORDERED
    )


def _alignment_law(check: CheckLike) -> Law:
    """Theta of a matrix's updates, theta' of them in the backward pass, omega of its initial entries."""
    letter = {"alignment_backward": "θ′", "alignment_change": "ω"}.get(check.quantity, "θ")
    output = check.layer == check.subject.layers
    name = "readout" if output else layer_name("W", check.layer, check.subject.layers)
    return _law(check, f"{letter} {name}", Role.APART if output and letter == "θ" else Role.ORDERED)


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
            _law(check, name, Role.ORDERED if by_depth else Role.GROUP, coordinate)
        )
    step = max(check.step for check in checks)
    sentences = [check.sentence for check in checks] if len(checks) <= 2 else []
    return PowerLaws(
        "mean change of the output |fₜ − f₀|",
        tuple(LawPanel(title, tuple(laws)) for title, laws in panels.items()),
        3,
        f"Change of the output after {step} updates{f' ({shared})' if shared else ''}",
        min(check.seeds for check in checks),
        _meaning(checks, tuple(sentences), 1),
    )


def _calibrated(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    names, shared = subject_names(check.subject for check in checks)
    panels = []
    for subject, group in groupby(checks, key=lambda check: check.subject):
        laws = tuple(_law(check, f"matrix {check.layer}", Role.ORDERED) for check in group)
        panels.append(LawPanel(names[subject], laws))
    return PowerLaws(
        "calibrated base rate",
        tuple(panels[:_MAX_PANELS]),
        3,
        f"Calibrated first rates of the matrices{f' ({shared})' if shared else ''}",
        min(check.seeds for check in checks),
        _meaning(checks, (), 1),
    )


def _drift(checks: Sequence[CheckLike], _: Sequence[CheckLike], meanings: tuple[str, ...]) -> PowerLaws:
    names, shared = subject_names(check.subject for check in checks)
    laws = tuple(_law(check, names[check.subject], Role.GROUP) for check in checks)
    sentences = tuple(check.sentence for check in checks) if len(checks) <= 2 else ()
    of = f" ({shared})" if shared else ""
    return PowerLaws(
        "best base learning rate",
        (LawPanel("", laws),),
        1,
        f"Best base rate against the width{of}; slopes are octaves per doubling",
        min(check.seeds for check in checks),
        _meaning(checks, sentences, 1),
        base=2,
    )


def _law(check: CheckLike, name: str, role: Role, theory: CheckLike | None = None) -> Law:
    """A check as a line; theory's exponent may come from another check of the same size."""
    source = theory or check
    return Law(
        name,
        tuple(Size(*size) for size in check.sizes),
        check.slope,
        check.low,
        check.high,
        _exponent(source.predicted),
        _exponent(source.predicted_high),
        source.upper_bound,
        check.expected if str(check.verdict) == "not yet" else None,
        str(check.verdict),
        role,
    )


def _exponent(value: Fraction | str | None) -> Fraction | None:
    return None if value is None or value == "" else Fraction(value)


Maker = Callable[[Sequence[CheckLike], Sequence[CheckLike], tuple[str, ...]], PowerLaws]
_KINDS: Final[Mapping[str, tuple[str, Maker]]] = {
    "coordinates": ("COORDINATE", _coordinates),
    "isolated-updates": ("ISOLATED_UPDATE", _isolated),
    "drift": ("RATE_TRANSFER", _drift),
    "calibrated-rates": ("CALIBRATED_RATE", _calibrated),
    "stationarity": ("STATIONARITY", _stationarity),
    "alignment-exponents": ("ALIGNMENT", _alignment),
}
REPORT_KINDS: Final = tuple(_KINDS)


def choose(found: Mapping[str, PowerLaws], kind: str | None) -> PowerLaws:
    """One of the figures of a report.

    Args:
        found: Of `report_pictures`.
        kind: Its name; None: the first.

    Raises:
        PictureError: There is none of that kind; the message names those that there are.
    """
    if not found:
        raise PictureError("the report has no checks to draw")
    if kind is None:
        return next(iter(found.values()))
    if kind not in found:
        raise PictureError(f"the report has no {kind!r} to draw; it has: {', '.join(found)}")
    return found[kind]
