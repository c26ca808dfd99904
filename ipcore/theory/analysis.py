"""`analyze`: what a parameterization does in the limit of infinite width, as a value that people can read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ipcore.theory.calculus import Sizes
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.given_alignment import Alignment, read_alignment
from ipcore.theory.maxplus import Size, nonzero
from ipcore.theory.normalization import NONE, check_normalization
from ipcore.theory.parameterization import Parameterization, check_integer, check_parameterization
from ipcore.theory.report import analysis_text
from ipcore.theory.residual import check_blocks
from ipcore.theory.rules import Rules, epsilons, rules
from ipcore.theory.trajectory import End, LayerAlignment, Trajectory, is_growing, layer_alignment, trajectory
from ipcore.theory.verdict import FeatureMove, Regime, stays_bounded, verdict
from ipcore.theory.wording import advice, notes, who_moves

MAX_ANALYSIS_LAYERS: Final = 1_000
MAX_ANALYSIS_WORK: Final = 100_000  # hidden layers times steps that may be asked for: a few seconds
MAX_DENOMINATOR_DIGITS: Final = 30
MAX_POWER_DIGITS: Final = 1_000  # of degree^(L+1)
MAX_ANSWER_DIGITS: Final = 2_000_000  # of the sizes of all steps that are shown


@dataclass(frozen=True, slots=True)
class StepSizes:
    """Sizes after some updates, as exponents of m; None: exactly zero.

    Attributes:
        step: Updates done before.
        h: e(h_t^l) for l = 1..L.
        h_change: e(h_t^l - h_0^l).
        f: e(f_t).
        f_change: e(f_t - f_0).
        exact: Whether these are exponents the calculus stands for; False: upper bounds, measure instead.
    """

    step: int
    h: tuple[Size, ...]
    h_change: tuple[Size, ...]
    f: Size
    f_change: Size
    exact: bool


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the calculus says.

    Attributes:
        parameterization: What was analysed.
        optimizer: Its optimizer.
        activation: Its activation.
        loss: Its loss.
        regime: The behaviour in the limit.
        settled: The exponents repeat for ever after the last step, or it is unstable. False with regime
            "measure", or where the regime is decided for all steps but sizes still change after the last.
        hidden_bounded: Every hidden preactivation is shown to stay bounded at all steps. With regime
            "unstable": squared errors, and only the output grows.
        marginal: "trivial", but the updates of two layers are exactly as large as their matrices, so that
            constants decide whether they grow; leaving takes about log m steps (a conjecture).
        steps: Sizes from step 0 on; a step left out is as the one before. After a hidden layer has grown only
            a few follow, and no more than `MAX_ANSWER_DIGITS` allow (then a note says so).
        features: Layers whose features move for certain, and from which step.
        vanishing: Whether some hidden activation vanishes at initialization.
        alignment: Of the matrices W^2..W^{L+1} at step 1.
        reason: The inequality that decides, in words.
        source: Where its rule is from.
        advice: What would change a trivial, diverging or unsettled verdict; empty otherwise.
        notes: What else to know about validity.
        epsilon: Adam's epsilon in layers 1..L+1 where it is not taken as its exponents say in the limit (see
            `analyze`); () if it is in every layer.
        assumed: Alignment that was given: (), one, or a lower and an upper bound. `alignment` follows from
            the last one.
        block_matrices: Matrices per residual block; 0: a perceptron without blocks.
        normalization: Of preactivations, a name in `ipcore.catalogue.NORMALIZATIONS`.
    """

    parameterization: Parameterization
    optimizer: str
    activation: str
    loss: str
    regime: Regime
    settled: bool
    hidden_bounded: bool
    marginal: bool
    steps: tuple[StepSizes, ...]
    features: tuple[FeatureMove, ...]
    vanishing: bool
    alignment: tuple[LayerAlignment, ...]
    reason: str
    source: str
    advice: str
    notes: tuple[str, ...]
    epsilon: tuple[str, ...] = ()
    assumed: tuple[Alignment, ...] = ()
    block_matrices: int = 0
    normalization: str = NONE

    @property
    def setting(self) -> Rules:
        """What besides the exponents entered; of two bounds on alignment the upper one."""
        return replace(
            rules(self.optimizer, self.activation, self.loss),
            epsilon=self.epsilon,
            alignment=self.assumed[-1] if self.assumed else None,
            block_matrices=self.block_matrices,
            normalized=self.normalization != NONE,
        )

    @property
    def summary(self) -> str:
        """One sentence: the regime, who moves when, and why."""
        head = self.regime.replace("_", " ")
        if self.regime == Regime.FEATURE_LEARNING:
            head += f" ({who_moves(self.features, self.parameterization.hidden_layers)})"
        return f"{head}: {self.reason}"

    def __str__(self) -> str:
        return analysis_text(self)

    def __rich__(self) -> str:
        """For rich, which would print a dataclass field by field."""
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts, null: exactly zero."""
        return {
            "parameterization": self.parameterization.to_dict(),
            "hidden_layers": self.parameterization.hidden_layers,
            "optimizer": self.optimizer,
            "activation": self.activation,
            "loss": self.loss,
            "epsilon": list(self.epsilon),
            "assumed": [bound.to_dict() for bound in self.assumed],
            "block_matrices": self.block_matrices,
            "normalization": self.normalization,
            "regime": self.regime.value,
            "settled": self.settled,
            "hidden_bounded": self.hidden_bounded,
            "marginal": self.marginal,
            "summary": self.summary,
            "reason": self.reason,
            "source": self.source,
            "advice": self.advice,
            "notes": list(self.notes),
            "vanishing": self.vanishing,
            "features": [{"layer": move.layer, "step": move.step} for move in self.features],
            "alignment": [
                {"layer": a.layer, "aligned": a.aligned, "deficit": str(a.deficit)} for a in self.alignment
            ],
            "steps": [
                {
                    "step": s.step,
                    "h": [_text(size) for size in s.h],
                    "h_change": [_text(size) for size in s.h_change],
                    "f": _text(s.f),
                    "f_change": _text(s.f_change),
                    "exact": s.exact,
                }
                for s in self.steps
            ],
        }


def analyze(
    parameterization: Parameterization,
    *,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    steps: int | None = None,
    epsilon: str | Sequence[str] | None = None,
    alignment: str | Alignment | Sequence[Alignment] | None = None,
    block_matrices: int = 0,
    normalization: str = NONE,
) -> Analysis:
    """What a parameterization does as the width grows, exactly.

    Args:
        parameterization: With its hidden layers, at most 1,000.
        optimizer: Key of `OPTIMIZERS`: "sgd", "adam", "sign", "muon", ..
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`: "cross_entropy", "logistic", "mse".
        steps: Updates to show, >= 1; hidden layers times steps at most 100,000. None: until nothing
            changes. The verdict does not depend on it.
        epsilon: With Adam, "negligible" (updates are signs) or "dominating" (gradient descent with c - d),
            for all layers or one entry for each of the L+1 matrices: what holds at the widths of an
            experiment, where epsilon may be larger or smaller than the gradients for other reasons than
            exponents. None or "limit": as the exponents d say for infinite width.
        alignment: None: as the calculus derives it. "full" or "none", the assumptions of Everett et al.
            (arXiv:2407.05872); an `Alignment`, every exponent in [1/2, 1]; or two as a lower and an upper
            bound (measured ones): where the regimes of both differ it is "measure".
        block_matrices: 1 or 2: residual blocks of so many matrices between W^1 and the readout, with the
            exponents of all matrices in their order (`ipcore.theory.residual`). 0: none.
        normalization: "rms": every preactivation is divided by its root mean square over the neurons before
            it enters the activation (`ipcore.theory.normalization`). "none".

    Raises:
        TheoryError: Unknown names, limits, or what the theory does not cover (with what it covers); all
            that is wrong is named.

    >>> from ipcore.theory.presets import preset
    >>> analyze(preset("ip", 3)).regime.value, analyze(preset("mup", 3)).regime.value
    ('trivial', 'feature_learning')
    >>> analyze(preset("sp-per-layer", 3), alignment="full").regime.value
    'feature_learning'
    """
    p, setting = checked(parameterization, optimizer, activation, loss, steps)
    setting, assumed = checked_setting(
        p, setting, optimizer, epsilon, alignment, block_matrices, normalization
    )
    upper, lower = bounds(p, setting, steps, assumed[0] if assumed else None)
    aligned = layer_alignment(upper)
    decided = verdict(p, upper, lower, setting)
    initial = upper.steps[0].h
    open_ends = {End.OPEN, End.APPROACHES}
    unstable = decided.regime == Regime.UNSTABLE
    settled = decided.regime != Regime.MEASURE and (
        unstable or not (upper.end in open_ends or lower.end in open_ends)
    )
    marginal = decided.regime == Regime.TRIVIAL and upper.future.marginal and _same(upper, lower)
    shown = _steps(upper, lower, setting, steps)
    left_out = shown[-1].step + 1 if shown[-1].step < max(steps or 0, upper.steps[-1].step) else None
    return Analysis(
        parameterization=p,
        optimizer=optimizer,
        activation=activation,
        loss=loss,
        regime=decided.regime,
        settled=settled,
        hidden_bounded=stays_bounded(upper),
        marginal=marginal,
        steps=shown,
        features=decided.moves,
        vanishing=any(nonzero(h) < 0 for h in initial[:-1]),
        alignment=aligned,
        reason=decided.reason,
        source=decided.source,
        advice=advice(p, setting, decided.regime),
        notes=notes(
            p,
            setting,
            upper,
            lower,
            aligned,
            decided=decided.regime,
            marginal=marginal,
            left_out=left_out,
        ),
        epsilon=setting.epsilon,
        assumed=assumed,
        block_matrices=block_matrices,
        normalization=normalization,
    )


def check_analysis(value: object) -> Analysis:
    """Refuse what is no analysis.

    Raises:
        TheoryError: `field` is "analysis".
    """
    if not isinstance(value, Analysis):
        raise TheoryError(f"must be an Analysis (see `analyze`), not {shown(value)}", "analysis")
    return value


def checked(
    parameterization: Parameterization, optimizer: str, activation: str, loss: str, steps: int | None = None
) -> tuple[Parameterization, Rules]:
    """What is analysed and its setting.

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
    """A setting with what is assumed of epsilon, alignment and blocks; of two bounds the upper one.

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


def bounds(
    p: Parameterization, setting: Rules, steps: int | None = None, least: Alignment | None = None
) -> tuple[Trajectory, Trajectory]:
    """Upper and lower bounds of the sizes of all steps; the same one twice where nothing is in doubt.

    Sizes grow with every exponent of alignment: nothing is divided, and sums keep the largest term. So with
    alignment that is given, `least` bounds them from below.
    """
    upper = trajectory(p, setting, aligned=True, steps=steps)
    if setting.alignment is not None:
        same = least is None or least == setting.alignment
        return upper, upper if same else trajectory(
            p, replace(setting, alignment=least), aligned=True, steps=steps
        )
    return upper, trajectory(p, setting, aligned=False, steps=steps) if doubtful(p, setting) else upper


def doubtful(p: Parameterization, setting: Rules) -> bool:
    """Whether alignment that is derived may be bounded only.

    Nothing is in doubt for aligned activations (both bounds are the same), unless a mean may cancel.
    """
    return setting.activation.kind != "aligned" or (p.mean is not None and setting.cancels)


def _same(upper: Trajectory, lower: Trajectory) -> bool:
    return upper is lower or [s.h for s in upper.steps] == [s.h for s in lower.steps]


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


def _steps(upper: Trajectory, lower: Trajectory, setting: Rules, steps: int | None) -> tuple[StepSizes, ...]:
    """Sizes after every one of `steps` updates; None: after all that were looked at."""
    result: list[StepSizes] = []
    certain, grown, digits = True, False, 0
    last = upper.steps[-1].step
    wanted = [s.step for s in upper.steps] if steps is None else range(steps + 1)
    for step in wanted:
        if step > last and upper.end is not End.REPEATS:
            break
        sizes, other = upper.at(step), lower.at(step)
        # After something hidden has grown the two may end at different steps.
        same = (sizes.h == other.h and sizes.change == other.change) or grown
        # The first gradient update is known through its inner products; signs and later steps are bounds.
        first = step <= 1 and not setting.entrywise and setting.alignment is None
        # Of an odd activation x has no mean: where h_1 outgrows h_0, x_1 forgets x_0, and so layers above
        # move less.
        grown = grown or (setting.activation.odd and is_growing(sizes))
        # Once something grows, bounded losses and activations make what follows an upper bound.
        certain = certain and not grown and (same or first)
        grown = grown or is_growing(sizes)
        chosen = other if first and not same else sizes
        digits += _digits(chosen)
        if step > 1 and digits > MAX_ANSWER_DIGITS:
            break
        result.append(_public(step, chosen, certain))
    return tuple(result)


def _digits(sizes: Sizes) -> int:
    """About how many digits its exponents have as texts."""
    bits = sum(
        e.numerator.bit_length() + e.denominator.bit_length()
        for e in (*sizes.h, *sizes.change)
        if e is not None
    )
    return bits * 3 // 10 + 2 * len(sizes.h)


def _public(step: int, sizes: Sizes, exact: bool) -> StepSizes:
    return StepSizes(step, sizes.h[:-1], sizes.change[:-1], sizes.h[-1], sizes.change[-1], exact)


def _text(size: Size) -> str | None:
    return None if size is None else str(size)
