"""From checks to lines, panels and captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from ipcore.figures.powers import Law, LawPanel, PowerLaws, Size
from ipcore.figures.reports.checks import CheckLike, Said, SubjectLike
from ipcore.figures.reports.names import parts_of
from ipcore.figures.series import Role

MAX_ROWS: Final = 6

_VERBS: Final = {
    "disagrees": ("disagrees", "disagree"),
    "agrees": ("agrees", "agree"),
    "not yet": ("does not show at these widths yet", "do not show at these widths yet"),
    "not bracketed": ("is not bracketed", "are not bracketed"),
    "undecided": ("is undecided", "are undecided"),
}


def by_step(
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
        meaning_of(checks, meanings, len(subjects)),
        headings=tuple(", ".join(part for part in parts_of(subject) if part) for subject in shown),
    )


def sentences_of(said: Sequence[Said], names: Mapping[SubjectLike, str]) -> tuple[str, ...]:
    """One sentence or two for a caption, with whose each is if they differ; none of more."""
    sentences = tuple(dict.fromkeys(one.sentence for one in said))
    if len({one.subject for one in said}) < 2 or len(sentences) < 2:
        return sentences
    if len(said) > 2:
        return ()
    return tuple(f"{one.sentence.rstrip('.')} ({names[one.subject]})" for one in said)


def meaning_of(checks: Sequence[CheckLike], meanings: tuple[str, ...], subjects: int) -> str:
    """The number of comparisons by verdict, in words, and the report's conclusions if they are short."""
    counts = Counter(str(check.verdict) for check in checks)
    said = [(counts[name], verbs[counts[name] > 1]) for name, verbs in _VERBS.items() if counts[name]]
    parts = [f"Of {len(checks)} comparisons: {', '.join(f'{count} {verb}' for count, verb in said)}."]
    if len(checks) == 1:
        parts = [f"The one comparison {said[0][1]}."]
    if subjects > MAX_ROWS:
        parts.append(f"Shown are the first {MAX_ROWS} of {subjects} groups of runs.")
    if len(meanings) <= 2:
        parts += [f"{meaning[0].upper()}{meaning[1:].rstrip('.')}." for meaning in meanings if meaning]
    return " ".join(parts)


def law_of(check: CheckLike, name: str, role: Role, theory: CheckLike | None = None) -> Law:
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
