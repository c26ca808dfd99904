"""Reasons of a completion in words: its changes, the effect of larger changes, missing alignment."""

from __future__ import annotations

from fractions import Fraction

from ipcore.theory.calculus import Propagation
from ipcore.theory.exponents import power
from ipcore.theory.layer_names import layers_by_order
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.stable_rates import StableRates
from ipcore.theory.units import unit_of
from ipcore.theory.verdict import SOFTMAX_CANCELS


def why(changes: tuple[Fraction, ...], found: StableRates) -> str:
    """The changes by the rates, the effect of larger ones, and whether other rates are as good."""
    same = len(set(changes)) == 1
    if same and changes[0] == 0:
        text = "every hidden layer and the output change by order 1 in every step"
    else:
        layers = f"hidden layers by {power(changes[0])}" if same else layers_by_order(changes)
        text = f"the output changes by order 1, {layers}"
    if changes != found.largest:
        return (
            f"{text}, the largest change that is the same in all of them; stable in all layers at once is "
            f"a change of {layers_by_order(found.largest)} (the largest completion)"
        )
    if not (same and changes[0] == 0):
        text += ": larger changes make the output grow"
    if found.unique:
        return f"{text}; no other stable rates of step 0 are larger in any layer"
    return (
        f"{text}; no changes are larger, but some rates of step 0 may be, where a layer below changes less "
        "(Pareto points)"
    )


def why_normalized(changes: tuple[Fraction, ...], found: StableRates) -> str:
    """As `why`, for changes relative to the sizes of their layers."""
    relative = tuple(change - start for change, start in zip(changes, found.start, strict=True))
    most = tuple(change - start for change, start in zip(found.largest, found.start, strict=True))
    if len(set(relative)) == 1:
        layers = f"every hidden layer by {_times(relative[0])} its size"
    else:
        layers = f"relative to their sizes {layers_by_order(relative)}"
    text = f"the output changes by order 1, {layers}"
    if changes != found.largest:
        return f"{text}; stable in all layers at once is {layers_by_order(most)} (the largest completion)"
    if found.unique:
        return f"{text}: larger changes make the output grow; no other stable rates of step 0 are larger"
    return (
        f"{text}; larger rates are stable in layers that change by as much as they are large, but their "
        "normalized preactivations change by order 1 in any case"
    )


def _times(exponent: Fraction) -> str:
    return "as much as" if exponent == 0 else f"{power(exponent)} of"


def missing_alignment(p: Parameterization, setting: Rules, first: Sizes) -> str:
    """Why the first update does not reach its size with the derived inner products; "": it does."""
    low = Propagation(p, setting, aligned=False, unit=unit_of(p, setting))
    low.forward(0)
    low.backward(0)
    low.update(0, p.phase_at(0), None if p.biases is None else p.biases.phase_at(0))
    reached = low.forward(1)
    pairs = zip(first.change, reached.change, strict=True)
    short = [i for i, (want, got) in enumerate(pairs) if want != got]
    if not short:
        return ""
    names = [f"{'f' if i == p.hidden_layers else f'h^{i + 1}'} by {power(reached.change[i])}" for i in short]
    if p.mean is not None and setting.cancels:
        return (
            f"{SOFTMAX_CANCELS}: the first step changes {', '.join(names)} only. These rates are stable "
            "whatever the loss; with one output (loss logistic) they are the largest"
        )
    kind = "orthogonalized" if setting.orthogonalized else "sign-like"
    estimate = f" (for {kind} updates this is an estimate)" if setting.entrywise else ""
    return (
        "no first step is both non-vanishing and stable: activations vanish at initialization and "
        f"{setting.activation.name} is linear at 0, so they are centred and independent of the first update "
        f"of their layer, and these rates change {', '.join(names)} only{estimate}. Rates larger by m^(1/2) "
        "per layer would make the first step of order 1, but then the next backward pass is aligned with it "
        "and the output grows in step 2. Activations with a kink at 0 (relu) or biases of order 1 (ip-bias) "
        "have no such gap"
    )
