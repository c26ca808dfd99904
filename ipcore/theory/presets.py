"""Published parameterizations by name, as functions of the depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.errors import TheoryError
from ipcore.theory.parameterization import Parameterization, RatePhase, custom

_HALF: Final = Fraction(1, 2)
_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class Preset:
    """A published parameterization.

    Attributes:
        name: Lower-case name for specs.
        description: One line for people.
        source: Paper and place.
        build: Exponents at a number of hidden layers L >= 1.
    """

    name: str
    description: str
    source: str
    build: Callable[[int], Parameterization]


def _sp(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ZERO] * 3)


def _ntk(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _HALF, _HALF], b=[_ZERO] * 3, c=[_ZERO] * 3)


def _mup(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _HALF, _ONE], b=[_ZERO] * 3, c=[-_ONE] * 3)


def _ip(hidden_layers: int) -> Parameterization:
    return custom(hidden_layers, a=[_ZERO, _ONE, _ONE], b=[_ZERO] * 3, c=[-_ONE, -2 * _ONE, -_ONE])


def _ip_llr(hidden_layers: int) -> Parameterization:
    naive = _ip(hidden_layers)
    outer, inner = -Fraction(hidden_layers + 1, 2), -Fraction(hidden_layers + 2, 2)
    first = (outer, *[inner] * (hidden_layers - 1), outer)
    return Parameterization(naive.a, naive.b, (RatePhase(0, first), RatePhase(1, naive.phases[0].c)))


_PRESETS: Final = (
    Preset("sp", "Standard parameterization, the framework default", "arXiv:2011.14522, table 1", _sp),
    Preset("ntk", "Neural tangent kernel: a kernel machine in the limit", "arXiv:2011.14522, table 1", _ntk),
    Preset(
        "mup", "Maximal update: features move in every layer (gauge b = 0)", "arXiv:2011.14522, table 1", _mup
    ),
    Preset("ip", "Integrable (mean field): stationary in the limit for L >= 3", "arXiv:2110.15596", _ip),
    Preset("ip-llr", "Integrable with large learning rates at step 0", "arXiv:2110.15596", _ip_llr),
)
PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in _PRESETS}


def preset(name: str, hidden_layers: int) -> Parameterization:
    """A published parameterization at a depth.

    Args:
        name: A key of `PRESETS`.
        hidden_layers: L >= 1.

    Raises:
        TheoryError: Unknown name, or L < 1.

    >>> [str(c) for c in preset("ip-llr", hidden_layers=4).c_at(0)]
    ['-5/2', '-3', '-3', '-3', '-5/2']
    """
    if name not in PRESETS:
        raise TheoryError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}", "preset")
    if hidden_layers < 1:
        raise TheoryError(f"must be at least 1, not {hidden_layers}", "hidden_layers")
    return PRESETS[name].build(hidden_layers)
