"""Published parameterizations by name, as functions of the depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.building import custom
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import parse_exponent
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import (
    Biases,
    Exponents,
    Parameterization,
    RatePhase,
    Reweighting,
    check_depth,
)

# What can be trained with; `ipcore.theory.rules` has what can be analysed.
OPTIMIZERS: Final = ("sgd", "momentum", "adam", "adamw")
_HALF: Final = Fraction(1, 2)
_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)
_TP4: Final = "Yang & Hu, arXiv:2011.14522, table 1"
_HAJJAR: Final = "Hajjar, Chizat & Giraud, arXiv:2110.15596"
_READING: Final = f"our reading of {_HAJJAR}"


@dataclass(frozen=True, slots=True)
class Preset:
    """A published parameterization.

    Attributes:
        name: Lower-case name for specs.
        description: One line for people.
        source: Paper and place.
        build: Exponents at a number of hidden layers L >= 1, for gradient descent.
        build_adam: Those for Adam: the largest stable rates with epsilon scaled faithfully, or, for "sp",
            what frameworks do. None: not defined.
        adam_advice: Why it is not defined for Adam, and what to use instead.
        largest_depth: Largest L it is defined for; None: any.
    """

    name: str
    description: str
    source: str
    build: Callable[[int], Parameterization]
    build_adam: Callable[[int], Parameterization] | None = None
    adam_advice: str = ""
    largest_depth: int | None = None

    def exponents(self, hidden_layers: int, optimizer: str = "sgd") -> Parameterization:
        """Exponents at a depth, for an optimizer.

        Args:
            hidden_layers: L >= 1.
            optimizer: "sgd" and "momentum" have the same, and so have "adam" and "adamw".

        Raises:
            TheoryError: Unknown optimizer, a depth at which it is not defined, or a preset without exponents
                for Adam; says what to use instead.
        """
        check_name(optimizer, OPTIMIZERS, "optimizer")
        if optimizer in ("sgd", "momentum"):
            return self.build(hidden_layers)
        if self.build_adam is None:
            raise TheoryError(f"{self.name!r} is not defined for {optimizer}: {self.adam_advice}", "preset")
        return self.build_adam(hidden_layers)


def _sp(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ZERO] * 3)


def _sp_stable(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ONE] * 3)


def _ntk(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _HALF, _HALF], b=[_ZERO] * 3, c=[_ZERO] * 3)


def _mup(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _HALF, _ONE], b=[_ZERO] * 3, c=[-_ONE] * 3)


def _mup_yang_hu(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[-_HALF, _ZERO, _HALF], b=[_HALF] * 3, c=[_ZERO] * 3)


def _mfp(hidden_layers: int) -> Parameterization:
    if hidden_layers != 1:
        raise TheoryError(
            f"'mfp' is defined for 1 hidden layer, not {hidden_layers}; its deep versions are 'ip' and 'mup'",
            "hidden_layers",
        )
    return custom(1, a=[_ZERO, _ONE], b=[_ZERO] * 2, c=[-_ONE] * 2)


def _ip(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _ONE, _ONE], b=[_ZERO] * 3, c=[-_ONE, -2 * _ONE, -_ONE])


def _sp_adam(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ZERO] * 3, d=[_ZERO] * 3)


def _ntk_adam(hidden_layers: int) -> Parameterization:
    return _faithful(_ntk(hidden_layers))


def _mup_adam(hidden_layers: int) -> Parameterization:
    return _faithful(_mup(hidden_layers))


def _mup_yang_hu_adam(hidden_layers: int) -> Parameterization:
    return _faithful(_mup_yang_hu(hidden_layers))


def _mfp_adam(hidden_layers: int) -> Parameterization:
    return _faithful(_mfp(hidden_layers))


def _faithful(p: Parameterization) -> Parameterization:
    """Yang & Littwin (arXiv:2308.01814): the largest stable rates and faithful epsilons, in closed form.

    r = max(0, 1 - a_{L+1} - b_{L+1}),  c_l = r + 1(l > 1) - a_l,  d_l = a_l + a_{L+1} + b_{L+1} for l <= L,
    c_{L+1} = 1 - a_{L+1},  d_{L+1} = a_{L+1}.
    """
    a, readout = p.a, p.a[-1] + p.b[-1]
    r = max(_ZERO, 1 - readout)
    c = [r - a[0], *(r + 1 - entry for entry in a[1:-1]), 1 - a[-1]]
    d = [*(entry + readout for entry in a[:-1]), a[-1]]
    return custom(p.hidden_layers, a=p.a, b=p.b, c=c, d=d)


def _ip_adam(hidden_layers: int) -> Parameterization:
    """Sign-like updates do not vanish with activations: c = 0 at every step; epsilon follows the gradients.

    At step 0 these are m^{-(L+1)/2}, from step 1 on, when activations are of order 1, they are those of muP.
    """
    naive = _ip(hidden_layers)
    zeros = (_ZERO,) * (hidden_layers + 1)
    outer, inner = Fraction(hidden_layers + 1, 2), Fraction(hidden_layers + 2, 2)
    first = (outer, *[inner] * (hidden_layers - 1), outer)
    later = (_ONE, *[2 * _ONE] * (hidden_layers - 1), _ONE)
    phases = (RatePhase(0, zeros, first), RatePhase(1, zeros, later))
    return Parameterization(naive.a, naive.b, phases[:1] if first == later else phases)


def _ip_llr(hidden_layers: int) -> Parameterization:
    naive = _ip(hidden_layers)
    outer, inner = -Fraction(hidden_layers + 1, 2), -Fraction(hidden_layers + 2, 2)
    first = (outer, *[inner] * (hidden_layers - 1), outer)
    return Parameterization(naive.a, naive.b, _two_phases(first, naive.phases[0].c))


def _ip_bias(hidden_layers: int) -> Parameterization:
    naive = _ip(hidden_layers)
    L = hidden_layers
    first = (-Fraction(L + 1, 2), *[-Fraction(L - i + 4, 2) for i in range(2, L + 1)], -_ONE)
    bias_first = (*[-Fraction(L - i + 2, 2) for i in range(1, L + 1)], _ZERO)
    zeros = (_ZERO,) * (L + 1)
    biases = Biases(zeros, zeros, _two_phases(bias_first, (*[-_ONE] * L, _ZERO)))
    return Parameterization(naive.a, naive.b, _two_phases(first, naive.phases[0].c), biases)


def _ip_non_centered(hidden_layers: int) -> Parameterization:
    naive = _ip(hidden_layers)
    return Parameterization(naive.a, naive.b, naive.phases, mean=(None, *[_ZERO] * hidden_layers))


def _hybrid(hidden_layers: int, k: Fraction | None) -> Parameterization:
    base = _mup(hidden_layers)
    if hidden_layers == 1:
        return base  # there is no hidden matrix to re-weight
    weights = (_ZERO, *[k] * (hidden_layers - 1), _ZERO)
    return Parameterization(base.a, base.b, base.phases, reweightings=(Reweighting(1, weights),))


def _hp(hidden_layers: int) -> Parameterization:
    return _hybrid(hidden_layers, _HALF)


def _hpz(hidden_layers: int) -> Parameterization:
    return _hybrid(hidden_layers, None)


def _two_phases(first: Exponents, later: Exponents) -> tuple[RatePhase, ...]:
    return (RatePhase(0, first),) if first == later else (RatePhase(0, first), RatePhase(1, later))


def up(s: Fraction) -> Preset:
    """The line from muP (s = 0) to the NTK parameterization (s = 1/2).

    Args:
        s: 0 <= s <= 1/2; features move like m^{-s} in every hidden layer.

    Raises:
        TheoryError: s outside its range.
    """
    if not 0 <= s <= _HALF:
        raise TheoryError(f"s must be between 0 and 1/2, not {s}; write for example 'up:1/4'", "preset")

    def build(hidden_layers: int) -> Parameterization:
        return custom(hidden_layers, a=[_ZERO, _HALF, 1 - s], b=[_ZERO] * 3, c=[2 * s - 1] * 3)

    return Preset(
        f"up:{s}",
        f"Between muP (up:0) and NTK (up:1/2): features move like m^(-{s}); any 0 <= s <= 1/2",
        "inside the class of arXiv:2011.14522, with r = s in every layer",
        build,
        adam_advice="its rates are made for gradient descent; use mup or ntk, its ends",
    )


_NO_LLR: Final = "its updates do not shrink with the gradient, so IP needs no large first step: use ip"
_NO_BIAS: Final = (
    "its rates and biases are made for gradient descent, and Adam needs no large first step: use ip"
)
_NO_MEAN: Final = "its rates are made for gradient descent: use ip"
_NO_HYBRID: Final = "its re-weighting stands for the large first step of gradient descent: use mup or ip"
_PRESETS: Final = (
    Preset("sp", "Standard parameterization, the framework default", _TP4, _sp, _sp_adam),
    Preset(
        "sp-stable",
        "Standard with the global rate 1/m that keeps it stable: kernel",
        _TP4,
        _sp_stable,
        adam_advice="rate 1/m in every layer leaves its output growing like m^(1/2): use ntk or mup, or sp",
    ),
    Preset("ntk", "Neural tangent kernel: a kernel machine in the limit", _TP4, _ntk, _ntk_adam),
    Preset("mup", "Maximal update: features move in every layer (gauge b = 0)", _TP4, _mup, _mup_adam),
    Preset(
        "mup-yang-hu", "Maximal update in Yang & Hu's gauge (c = 0)", _TP4, _mup_yang_hu, _mup_yang_hu_adam
    ),
    Preset(
        "mfp", "Mean field, one hidden layer: IP and muP at L = 1", _TP4, _mfp, _mfp_adam, largest_depth=1
    ),
    Preset("ip", "Integrable (mean field): stationary in the limit for L >= 3", _HAJJAR, _ip, _ip_adam),
    Preset("ip-llr", "Integrable with large learning rates at step 0", _HAJJAR, _ip_llr, adam_advice=_NO_LLR),
    Preset(
        "ip-bias", "Integrable with biases of order 1 in every layer", _HAJJAR, _ip_bias, adam_advice=_NO_BIAS
    ),
    Preset(
        "ip-non-centered",
        "Integrable, weights drawn with a mean",
        _HAJJAR,
        _ip_non_centered,
        adam_advice=_NO_MEAN,
    ),
    Preset(
        "hp",
        "muP whose initial hidden matrices count m^(-1/2) from step 1 on",
        _READING,
        _hp,
        adam_advice=_NO_HYBRID,
    ),
    Preset(
        "hpz",
        "muP whose initial hidden matrices are removed from step 1 on",
        _READING,
        _hpz,
        adam_advice=_NO_HYBRID,
    ),
    up(Fraction(1, 4)),
)
PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> Preset:
    """A preset by its name; "up:s" is one for every 0 <= s <= 1/2.

    Raises:
        TheoryError: Unknown name (with the nearest), or s outside its range.

    >>> find_preset("up:1/3").name
    'up:1/3'
    """
    family, colon, argument = name.partition(":")
    if family == "up":
        if not colon:
            raise TheoryError("'up' needs its s between 0 and 1/2, for example 'up:1/4'", "preset")
        return up(parse_exponent(argument, "preset"))
    check_name(name, PRESETS, "preset", "up:s with 0 <= s <= 1/2")
    return PRESETS[name]


def preset(name: str, hidden_layers: int, *, optimizer: str = "sgd") -> Parameterization:
    """A published parameterization at a depth.

    Args:
        name: A key of `PRESETS`, or "up:s" with 0 <= s <= 1/2.
        hidden_layers: L, 1..10,000.
        optimizer: "sgd", "momentum", "adam" or "adamw"; Adam's have other rates, and exponents of epsilon.

    Raises:
        TheoryError: Unknown name or optimizer, L outside its range, or a preset that is not defined at this
            depth or for this optimizer.

    >>> [str(c) for c in preset("ip-llr", hidden_layers=4).c_at(0)]
    ['-5/2', '-3', '-3', '-3', '-5/2']
    >>> [str(c) for c in preset("mup", hidden_layers=2, optimizer="adam").c_at(0)]
    ['0', '1/2', '0']
    """
    found = find_preset(name)
    check_depth(hidden_layers)
    return found.exponents(hidden_layers, optimizer)


def presets_at(hidden_layers: int, *, optimizer: str = "sgd") -> dict[str, Parameterization]:
    """All presets that are defined at a depth and for an optimizer, in the catalogue's order.

    Raises:
        TheoryError: L outside its range, or an unknown optimizer.
    """
    check_depth(hidden_layers)
    check_name(optimizer, OPTIMIZERS, "optimizer")
    descent = optimizer in ("sgd", "momentum")
    return {
        name: entry.exponents(hidden_layers, optimizer)
        for name, entry in PRESETS.items()
        if (entry.largest_depth is None or hidden_layers <= entry.largest_depth)
        and (descent or entry.build_adam is not None)
    }
