"""The answers of a report: one sentence per question, with its number and interval.

A report compares hundreds of sizes; an answer summarizes those of one parameterization, depth and activation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from iplab.results.numbers import SETTING_DIGITS, decimals, number
from iplab.results.report import Verdict

if TYPE_CHECKING:
    from iplab.results.report import Check, Report, Subject

_Group = tuple[str, str, int, str]
_VERBS: Final = {
    Verdict.AGREES: ("agrees", "agree"),
    Verdict.DISAGREES: ("disagrees", "disagree"),
    Verdict.UNDECIDED: ("is undecided", "are undecided"),
    Verdict.NOT_YET: ("does not show yet at these widths", "do not show yet at these widths"),
    Verdict.NOT_BRACKETED: ("is not bracketed", "are not bracketed"),
}
# Kinds of check that a conclusion summarizes.
_CONCLUDED: Final = frozenset({"COORDINATE", "ISOLATED_UPDATE"})
# Most important verdicts first.
_ORDER: Final = (
    Verdict.DISAGREES,
    Verdict.NOT_BRACKETED,
    Verdict.UNDECIDED,
    Verdict.NOT_YET,
    Verdict.AGREES,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        verdict: Verdict on all comparisons behind it.
        sentence: Subject, measurement with its interval, prediction, and verdict.
    """

    verdict: Verdict
    sentence: str


def answers(report: Report) -> list[Answer]:
    """The answers of a report: what disagrees first; rate transfers, then sizes, then the other kinds."""
    groups: dict[_Group, list[Check]] = {}
    for check in report.checks:
        groups.setdefault(_group(check.subject), []).append(check)
    found = [
        ((answer.verdict is not Verdict.DISAGREES, _kind_order(kind)), answer)
        for group, checks in groups.items()
        for kind, answer in _of_group(group, checks, report)
    ]
    return [answer for _, answer in sorted(found, key=lambda entry: entry[0])]


def overview(found: Sequence[Answer]) -> str:
    """All answers in one sentence: the only one, or the number of answers per verdict.

    >>> overview([Answer(Verdict.AGREES, "mup: ..."), Answer(Verdict.UNDECIDED, "sp: ...")])
    'of 2 answers, 1 is undecided, 1 agrees with theory'
    """
    if len(found) == 1:
        return found[0].sentence
    counts = Counter(answer.verdict for answer in found)
    said = [f"{counts[v]} {_VERBS[v][counts[v] > 1]}" for v in _ORDER if counts[v]]
    whole = ", ".join(said)
    with_theory = " with theory" if said and said[-1].endswith(("agrees", "agree")) else ""
    return f"of {len(found)} answers, {whole}{with_theory}"


def slope_text(check: Check) -> str:
    """A slope with its interval: "-0.98 (95 %: -1.12 .. -0.73)"."""
    if check.slope is None:
        return "none"
    if check.low is None or check.high is None:
        return f"{decimals(check.slope, 2)} (one seed, so no interval)"
    return f"{decimals(check.slope, 2)} (95 %: {decimals(check.low, 2)} .. {decimals(check.high, 2)})"


def theory_text(check: Check) -> str:
    """The prediction of theory: "-1/2", "at most 0", "-1 .. -1/2"; "" if there is none."""
    if not check.predicted:
        return ""
    if check.predicted_high not in ("", check.predicted):
        return f"{check.predicted} .. {check.predicted_high}"
    return f"at most {check.predicted}" if check.upper_bound else check.predicted


def whose(subject: Subject, *, rate: bool = True) -> str:
    """A subject: "mup (3 hidden layers, relu, base rate 0.1)"."""
    held = f" compared with {subject.reference}" if subject.reference != subject.parameterization else ""
    at = (
        ""
        if subject.base_learning_rate is None or not rate
        else f", base rate {number(subject.base_learning_rate, SETTING_DIGITS)}"
    )
    return (
        f"{subject.parameterization}{held} ({subject.hidden_layers} hidden layers, {subject.activation}{at})"
    )


def _group(subject: Subject) -> _Group:
    return subject.parameterization, subject.reference, subject.hidden_layers, subject.activation


def _kind_order(kind: str) -> int:
    known = (
        "RATE_TRANSFER",
        "COORDINATE",
        "ISOLATED_UPDATE",
        "STATIONARITY",
        "LIMIT",
        "CALIBRATED_RATE",
        "ALIGNMENT",
    )
    return known.index(kind) if kind in known else len(known)


def _of_group(group: _Group, checks: list[Check], report: Report) -> Iterator[tuple[str, Answer]]:
    ordered = sorted(checks, key=lambda check: check.kind)
    for kind, members in groupby(ordered, key=lambda check: check.kind):
        of_kind = list(members)
        if kind == "RATE_TRANSFER":
            yield from ((kind, _rate_transfer(check)) for check in of_kind)
        elif kind in _CONCLUDED:
            yield kind, _sizes(of_kind, report)
        else:
            yield kind, _several(of_kind)
    concluded = [c for c in report.alignments if _group(c.subject) == group]
    yield from (("ALIGNMENT", Answer(c.verdict, f"{whose(c.subject)}: {c.sentence}")) for c in concluded)


def _rate_transfer(check: Check) -> Answer:
    who = whose(check.subject)
    if check.verdict is Verdict.NOT_BRACKETED:
        return Answer(check.verdict, f"{who}: {check.sentence}")
    theory = theory_text(check)
    predicted = f"; theory: {theory}" if theory else ""
    why = check.sentence.partition("; ")[2] if check.verdict is Verdict.UNDECIDED else ""
    return Answer(
        check.verdict,
        f"{who}: the best rate moves by {slope_text(check)} octaves per doubling of the width{predicted}: "
        f"{check.verdict}{f', {why}' if why else ''}",
    )


def _sizes(checks: list[Check], report: Report) -> Answer:
    """Answer about coordinates, or isolated updates, at one base rate or at several together."""
    subjects = list(dict.fromkeys(check.subject for check in checks))
    # Conclusions on isolated updates begin with these words.
    isolated = checks[0].kind == "ISOLATED_UPDATE"
    concluded = [
        c
        for c in report.conclusions
        if c.subject in subjects and c.sentence.startswith("isolated updates") == isolated
    ]
    verdict = _worst(c.verdict for c in concluded) if concluded else _worst(c.verdict for c in checks)
    told = next((c for c in checks if c.verdict is Verdict.DISAGREES), None) or checks[-1]
    if len(subjects) == 1 and concluded:
        shown = "" if told.verdict is Verdict.DISAGREES else f"; {_one(told)}"
        return Answer(verdict, f"{whose(subjects[0])}: {verdict}: {concluded[0].sentence}{shown}")
    counts = Counter(c.verdict for c in concluded)
    said = ", ".join(f"{counts[v]} {_VERBS[v][counts[v] > 1]}" for v in _ORDER if counts[v])
    things = "isolated updates" if isolated else "sizes"
    where = (
        ""
        if told.subject.base_learning_rate is None
        else f" at base rate {told.subject.base_learning_rate:g}"
    )
    return Answer(
        verdict,
        f"{whose(subjects[0], rate=False)}: {verdict}: of the {things} at {len(subjects)} base rates, "
        f"{said}; {_one(told)}{where}",
    )


def _several(checks: list[Check]) -> Answer:
    """Answer about comparisons of another kind: how many agree, and the most important one."""
    verdict = _worst(check.verdict for check in checks)
    told = next(check for check in checks if check.verdict is verdict)
    who = whose(told.subject)
    if told.kind == "LIMIT" and len({check.subject for check in checks}) == 1:
        # The question is about the last step; earlier steps are in the table of --why.
        return Answer(verdict, f"{who}: {max(checks, key=lambda check: check.step).sentence}")
    if len(checks) == 1:
        said = told.sentence if told.kind in {"STATIONARITY", "LIMIT"} else f"{_one(told)}: {verdict}"
        return Answer(verdict, f"{who}: {said}")
    counts = Counter(check.verdict for check in checks)
    said = ", ".join(f"{counts[v]} {_VERBS[v][counts[v] > 1]}" for v in _ORDER if counts[v])
    name = {
        "CALIBRATED_RATE": "calibrated rates",
        "STATIONARITY": "changes of the output",
        "LIMIT": "distances to the limit",
        "ALIGNMENT": "alignments",
    }.get(told.kind, "comparisons")
    return Answer(
        verdict, f"{whose(told.subject, rate=False)}: of {len(checks)} {name}, {said}; {_one(told)}"
    )


def _one(check: Check) -> str:
    """One comparison as text: "change of f after step 3: slope 0.02 (95 %: ...), theory: 0"."""
    theory = theory_text(check)
    step = f" after step {check.step}" if check.quantity and check.step else ""
    name = check.name.removesuffix(": falls?")
    return f"{name}{step}: slope {slope_text(check)}{f', theory: {theory}' if theory else ''}"


def _worst(verdicts: Iterator[Verdict]) -> Verdict:
    given = set(verdicts)
    return next(verdict for verdict in _ORDER if verdict in given)
