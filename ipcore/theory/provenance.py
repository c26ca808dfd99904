"""The source of the rule behind a verdict."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from ipcore.theory.gauge import equivalent
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.presets import preset
from ipcore.theory.rules import Rules

_SGD: Final = "Yang & Hu, arXiv:2011.14522"
_ADAM: Final = "Yang & Littwin, arXiv:2308.01814"
_SPECTRAL: Final = "the spectral condition (Yang, Simon & Bernstein, arXiv:2310.17813)"
_IP: Final = "Hajjar et al., arXiv:2110.15596"
_HALF: Final = Fraction(1, 2)
_PUBLISHED_DEPTH: Final = 3  # naive IP is stationary from three hidden layers on


def source(p: Parameterization, rules: Rules) -> str:
    """Paper and place if the verdict is published; else the rules that ours builds on.

    Args:
        p: The parameterization.
        rules: Optimizer, activation, loss.

    >>> from ipcore.theory.rules import rules
    >>> source(preset("mup", 3), rules("sgd", "relu", "mse"))
    'Yang & Hu, arXiv:2011.14522, section 3'
    """
    base = _SPECTRAL if rules.orthogonalized else _ADAM if rules.entrywise else _SGD
    ours = f"ours (docs/theory.md): rules of {base}, iterated outside the class classified there"
    more = {
        "alignment that is given": rules.alignment is not None,
        "sums of residual blocks": bool(rules.block_matrices),
        "normalized preactivations": rules.normalized,
    }
    if any(more.values()):
        what = " and ".join(name for name, there in more.items() if there)
        return f"ours (docs/theory.md): rules of {base}, with {what}"
    if (
        rules.activation.degree != 1
        or rules.activation.kind == "offset"
        or rules.accumulates
        or rules.orthogonalized
    ):
        return ours
    if _classified(p):
        return _ADAM if rules.entrywise else f"{_SGD}, section 3"
    if not rules.entrywise and p.hidden_layers >= _PUBLISHED_DEPTH:
        if equivalent(p, preset("ip", p.hidden_layers)):
            return f"{_IP} (stationary limit); sizes per layer: ours (docs/theory.md)"
        if equivalent(p, preset("ip-llr", p.hidden_layers)):
            return f"{_IP} (large first rates); sizes per layer: ours (docs/theory.md)"
    return ours


def _classified(p: Parameterization) -> bool:
    """Whether p lies in the published class: layers of order 1 at the start, rates that never change.

    Any rate exponents do: a gauge shift per layer makes them one c.
    """
    first, *hidden, last = (a + b for a, b in zip(p.a, p.b, strict=True))
    plain = p.biases is None and p.mean is None and not p.reweightings and len(p.phases) == 1
    return plain and first == 0 and all(s == _HALF for s in hidden) and last >= _HALF
