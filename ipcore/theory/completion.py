"""Completion: learning rates for given (a, b), from the changes that they should make.

    largest    every layer changes as much as is stable, e(Delta h^l) = R_l <= 0: one vector, the largest in
               every layer at once
    balanced   all hidden layers change by the same m^{-r}, with r >= 0 as small as possible

In both the output changes by order 1. The rates c are solved layer by layer at step 0, and again from step 1
on, when the first update has changed the sizes. The two are the same for muP, IP and IP-LLR (r = 0), SP and
NTK (r = 1/2). The changes are unique; the rates are not: others may be stable too, and larger in some layer
(`ipcore.theory.stable_rates`). Inside the class of Yang & Hu (arXiv:2011.14522) there is a closed form, see
docs/theory.md; beyond it, completion gives the large first rates of Hajjar et al. (arXiv:2110.15596) from
IP's (a, b). For Adam the epsilon exponents are completed too: those that keep epsilon as large as the
gradient (faithful, Yang & Littwin, arXiv:2308.01814).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any, Final

from ipcore.theory.checks import check_depth, expand_layers
from ipcore.theory.completion_reasons import missing_alignment, why, why_normalized
from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.exponents import sequence
from ipcore.theory.given_alignment import Alignment, read_alignment
from ipcore.theory.names import check_name
from ipcore.theory.normalization import NONE, check_normalization, refuse
from ipcore.theory.parameterization import Biases, Parameterization, RatePhase, Reweighting
from ipcore.theory.rate_solver import at_initialization, solve
from ipcore.theory.report import completion_text
from ipcore.theory.rules import Rules, rules
from ipcore.theory.stable_rates import MAX_POINT_LAYERS, MAX_POINTS, ParetoPoint, StableRates, stable_rates
from ipcore.theory.targets import KINDS, largest_changes
from ipcore.theory.written import Written

_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class Completion(Written):
    """Rates that complete (a, b).

    Attributes:
        parameterization: (a, b) with these rates.
        optimizer: Name of the optimizer.
        activation: Name of the activation.
        kind: "largest" or "balanced".
        changes: e(h_t^l - h_0^l) per step for l = 1..L, if updates are aligned. Unique.
        maximal: Whether these are the largest changes that are stable, and the first update makes them.
            False: others are larger (kind "balanced"), or alignment is missing; the reason says which.
        unique: Whether no other stable rates of step 0 are larger in some layer. False: a smaller change of
            some layer allows larger rates above it; `stable` has all of them.
        reason: Why these rates, or why none is maximal, in words.
        stable: All stable rates of step 0, if asked for.
    """

    parameterization: Parameterization
    optimizer: str
    activation: str
    kind: str
    changes: tuple[Fraction, ...]
    maximal: bool
    unique: bool
    reason: str
    stable: StableRates | None = None

    @property
    def r(self) -> Fraction | None:
        """Every hidden layer changes by m^{-r} per step; None: not all by the same."""
        return -self.changes[0] if len(set(self.changes)) == 1 else None

    @property
    def summary(self) -> str:
        """One sentence."""
        phases = len(self.parameterization.phases)
        rates = "one set of rates" if phases == 1 else "other rates in the first step than later"
        size = "" if self.r is None else f", r = {self.r}"
        return f"{self.kind} completion, {rates}{size}: {self.reason}"

    def __str__(self) -> str:
        return completion_text(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        found = {
            "parameterization": self.parameterization.to_dict(),
            "optimizer": self.optimizer,
            "activation": self.activation,
            "kind": self.kind,
            "changes": [str(change) for change in self.changes],
            "r": None if self.r is None else str(self.r),
            "maximal": self.maximal,
            "unique": self.unique,
            "reason": self.reason,
            "summary": self.summary,
        }
        return found if self.stable is None else {**found, "stable": self.stable.to_dict()}


def complete(
    a: Sequence[str | Fraction | int],
    b: Sequence[str | Fraction | int],
    *,
    kind: str = "largest",
    pareto: bool = False,
    hidden_layers: int | None = None,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    biases: Biases | None = None,
    mean: tuple[Fraction | None, ...] | None = None,
    reweightings: Sequence[Reweighting] = (),
    alignment: str | Alignment | None = None,
    block_matrices: int = 0,
    normalization: str = NONE,
) -> Completion:
    """Stable rates for given multipliers and initial standard deviations.

    Args:
        a: Multipliers: L+1 entries, or three (first, hidden, last) with `hidden_layers`.
        b: Initial standard deviations, likewise.
        kind: "largest": every hidden layer changes as much as is stable. "balanced": all by the same power.
        pareto: Find all stable rates of step 0 too, and Pareto points among them.
        hidden_layers: L; None: one less than the entries of `a`.
        optimizer: Key of `OPTIMIZERS`; with "adam" the epsilon exponents d are completed too.
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`.
        biases: Biases with exponents of their own; their rates are completed, those given are not used.
        mean: As in `Parameterization`.
        reweightings: Refused unless empty, so that those of a parameterization are not silently ignored.
        alignment: None: as the calculus derives it. "full", "none" or an `Alignment`: how far updates and
            initial matrices are aligned (`ipcore.theory.given_alignment`); not together with a mean.
        block_matrices: Refused unless 0, so that rates of a perceptron are not taken for those of a network
            with residual blocks.
        normalization: "rms": preactivations are normalized (`ipcore.theory.normalization`), and layers
            change relative to their sizes; not together with `pareto`.

    Raises:
        TheoryError: Lists that do not fit, unknown names, re-weighted initial matrices, residual blocks, an
            (a, b) that no rates make stable, or (kind "balanced") one whose layers cannot all change by the
            same m^{-r}.

    >>> done = complete(["0", "1", "1"], ["0", "0", "0"], hidden_layers=6)
    >>> [str(c) for c in done.parameterization.c_at(0)]
    ['-7/2', '-4', '-4', '-4', '-4', '-4', '-7/2']
    >>> [str(change) for change in complete(["0", "1", "1/2"], ["0", "0", "0"]).changes]
    ['0', '-1/2']
    >>> [str(c) for c in complete([0] * 3, ["0", "1/2", "1/2"], alignment="none").parameterization.c_at(0)]
    ['-1/2', '0', '1/2']
    """
    if hidden_layers is None and len(sequence(a, "a")) < 2:
        raise TheoryError(f"has {len(a)} entries; a network has at least 2 layers (one hidden)", "a")
    L = len(a) - 1 if hidden_layers is None else hidden_layers
    check_depth(L)
    check_name(kind, KINDS, "kind")
    if biases is not None and not isinstance(biases, Biases):
        raise TheoryError(f"must be Biases or None, not {shown(biases)}", "biases")
    if mean is not None:
        sequence(mean, "mean")
    if reweightings:
        raise TheoryError(
            "not covered: completion with re-weighted initial matrices ('hp', 'hpz'); covered are initial "
            "matrices that stay: 'mup' has the same (a, b)",
            "reweightings",
        )
    if block_matrices != 0:
        raise TheoryError(
            "not covered: completion with residual blocks; analyze rates of your own with block_matrices, "
            "and raise them together by the largest stable base rate (largest_stable_rate)",
            "block_matrices",
        )
    if pareto:
        refuse(
            normalization,
            "Pareto points (no layer limits the rates of another there)",
        )
    assumed = None if alignment is None else read_alignment(alignment, L)[-1]
    if assumed is not None and mean is not None:
        raise TheoryError("not covered: alignment that is given, and weights with a mean", "alignment")
    setting = replace(rules(optimizer, activation, loss), alignment=assumed, normalized=normalization != NONE)
    zeros = (RatePhase(0, (_ZERO,) * (L + 1)),)
    start = Parameterization(expand_layers(a, L, "a"), expand_layers(b, L, "b"), zeros, biases, mean)
    check_normalization(normalization, start)
    # What may cancel in the first backward pass is counted: rates that are stable whatever the loss.
    cancels = mean is not None and setting.cancels
    counted = replace(setting, loss="logistic") if cancels else setting
    initial = at_initialization(start, counted)
    largest, changes = largest_changes(initial), KINDS[kind](initial)
    found = stable_rates(initial, largest)
    solved, first = solve(start, counted, changes)
    short = "" if assumed else missing_alignment(solved, setting, first)
    reason = short or (why_normalized if setting.normalized else why)(changes, found)
    return Completion(
        parameterization=solved,
        optimizer=optimizer,
        activation=activation,
        kind=kind,
        changes=changes,
        maximal=changes == largest and not short,
        unique=changes == largest and found.unique,
        reason=reason,
        stable=_with_points(found, start, counted) if pareto else None,
    )


def _with_points(found: StableRates, start: Parameterization, setting: Rules) -> StableRates:
    """The polyhedron with as many Pareto points as are solved in bounded time."""
    most = max(1, min(MAX_POINTS, MAX_POINT_LAYERS // start.hidden_layers))
    corners = list(islice(found.corners(), most + 1))
    points = tuple(ParetoPoint(changes, solve(start, setting, changes)[0]) for changes in corners[:most])
    return replace(found, points=points, all_points=len(corners) <= most)
