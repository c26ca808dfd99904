"""Arguments of `analyze`: the networks and settings that the calculus covers, and bounds on the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ipcore.theory.checks import check_integer
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.given_alignment import Alignment, read_alignment
from ipcore.theory.normalization import NONE, check_normalization
from ipcore.theory.parameterization import Parameterization, check_parameterization
from ipcore.theory.residual import check_blocks
from ipcore.theory.rules import Rules, epsilons, rules

MAX_ANALYSIS_LAYERS: Final = 1_000
MAX_ANALYSIS_WORK: Final = 100_000  # hidden layers times steps that may be asked for: a few seconds
MAX_DENOMINATOR_DIGITS: Final = 30
MAX_POWER_DIGITS: Final = 1_000  # of degree^(L+1)


def checked(
    parameterization: Parameterization, optimizer: str, activation: str, loss: str, steps: int | None = None
) -> tuple[Parameterization, Rules]:
    """The checked parameterization and its setting.

    Raises:
        TheoryError: As `analyze`; `problems` has all that is wrong.
    """
    findings = Findings()
    with findings.noted():
        setting = rules(optimizer, activation, loss)
    with findings.noted():
        p = check_parameterization(parameterization)
        for check in (_check_depth, _check_digits, _check_covered):
            with findings.noted():
                check(p)
    with findings.noted():
        _check_steps(parameterization, steps)
    findings.check()
    _check_degree(p, setting)
    return p, setting


def checked_setting(
    p: Parameterization,
    setting: Rules,
    optimizer: str,
    epsilon: str | Sequence[str] | None,
    alignment: str | Alignment | Sequence[Alignment] | None,
    block_matrices: int,
    normalization: str = NONE,
) -> tuple[Rules, tuple[Alignment, ...]]:
    """A setting with the assumptions on epsilon, alignment and blocks; of two bounds the upper one.

    Returns:
        The setting, and the alignment that was given: none, one, or a lower and an upper bound.

    Raises:
        TheoryError: As `analyze`.
    """
    findings = Findings()
    with findings.noted():
        setting = replace(setting, epsilon=epsilons(epsilon, optimizer, p))
    assumed: tuple[Alignment, ...] = ()
    with findings.noted():
        assumed = read_alignment(alignment, p.hidden_layers)
        _check_given(p, assumed)
    with findings.noted():
        check_blocks(block_matrices, p.hidden_layers)
        _check_residual(p, block_matrices)
    normalized = False
    with findings.noted():
        normalized = check_normalization(normalization, p)
        _check_bounds(assumed, normalized=normalized)
    findings.check()
    given = assumed[-1] if assumed else None
    found = replace(setting, alignment=given, block_matrices=block_matrices, normalized=normalized)
    return found, assumed


def _check_depth(p: Parameterization) -> None:
    if p.hidden_layers > MAX_ANALYSIS_LAYERS:
        raise TheoryError(
            f"analysis covers at most {MAX_ANALYSIS_LAYERS} hidden layers, not {p.hidden_layers}; exponents "
            "of deep networks follow a pattern in l that smaller depths show",
            "hidden_layers",
        )


def _check_digits(p: Parameterization) -> None:
    """Sums over layers are multiples of 1 over the common denominator."""
    denominator = 1
    rows = [p.a, p.b, *[row for phase in p.phases for row in (phase.c, phase.d or ())]]
    if p.biases is not None:
        own = p.biases
        rows += [own.a, own.b, *[row for phase in own.phases for row in (phase.c, phase.d or ())]]
    rows += [tuple(e for e in (r.k) if e is not None) for r in p.reweightings]
    for entry in {entry for row in rows for entry in row}:
        denominator = math.lcm(denominator, entry.denominator)
        if denominator >= 10**MAX_DENOMINATOR_DIGITS:
            raise TheoryError(
                f"the common denominator of all exponents has more than {MAX_DENOMINATOR_DIGITS} digits; "
                "write them with fewer different denominators",
                "parameterization",
            )


def _check_degree(p: Parameterization, setting: Rules) -> None:
    degree = setting.activation.degree
    digits = (p.hidden_layers + 1) * math.log10(max(degree.numerator, degree.denominator))
    if digits > MAX_POWER_DIGITS:
        raise TheoryError(
            f"with {p.hidden_layers} hidden layers {setting.activation.name} makes sizes with exponents of "
            f"about {digits:.0f} digits; at most {MAX_POWER_DIGITS} are analysed: take fewer layers",
            "activation",
        )


def _check_steps(p: Parameterization, steps: int | None) -> None:
    if steps is None:
        return
    check_integer(steps, "steps")
    if steps < 1:
        raise TheoryError(f"must be at least 1, not {shown(steps)}: a verdict compares with step 0", "steps")
    if isinstance(p, Parameterization) and steps * p.hidden_layers > MAX_ANALYSIS_WORK:
        allowed = MAX_ANALYSIS_WORK // p.hidden_layers
        raise TheoryError(
            f"must be at most {allowed} with {p.hidden_layers} hidden layers, not {shown(steps)}; leave it "
            "out to stop where exponents repeat",
            "steps",
        )


def _check_covered(p: Parameterization) -> None:
    if p.mean is not None and (p.mean[0] is not None or p.mean[1:] != p.b[1:]):
        raise TheoryError(
            "not covered: initial weights with this mean; covered are centred weights, and a mean as large "
            "as the standard deviation (mean_l = b_l) in every layer but the first",
            "mean",
        )


def _check_given(p: Parameterization, assumed: tuple[Alignment, ...]) -> None:
    if assumed and p.mean is not None:
        raise TheoryError(
            "not covered: alignment that is given, and initial weights with a mean, which derive theirs",
            "alignment",
        )


def _check_bounds(assumed: tuple[Alignment, ...], *, normalized: bool) -> None:
    if normalized and len(assumed) > 1:
        raise TheoryError(
            "not covered: two bounds with normalized preactivations, whose sizes do not grow with alignment; "
            "give one alignment",
            "alignment",
        )


def _check_residual(p: Parameterization, block_matrices: int) -> None:
    if block_matrices and (p.mean is not None or p.reweightings):
        raise TheoryError(
            "not covered: residual blocks with re-weighted initial matrices, or initial weights with a mean",
            "block_matrices",
        )
