"""Published parameterizations by name; their exponents: `ipcore.theory.preset_exponents`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.catalogue import KNOWN_OPTIMIZERS
from ipcore.theory.checks import check_depth
from ipcore.theory.errors import Findings, TheoryError
from ipcore.theory.exponents import parse_exponent
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.preset_exponents import (
    Adjust,
    Build,
    between,
    faithful_adam,
    hp,
    hpz,
    ip,
    ip_adam,
    ip_bias,
    ip_llr,
    ip_non_centered,
    mfp,
    mup,
    mup_yang_hu,
    ntk,
    one_rate,
    per_layer,
    same_rate,
    sp,
    sp_adam,
    sp_large,
    sp_large_adam,
    sp_per_layer,
    sp_per_layer_adam,
    sp_stable,
)
from ipcore.theory.rules import rule_of

_HALF: Final = Fraction(1, 2)
_TP4: Final = "Yang & Hu, arXiv:2011.14522, table 1"
_HAJJAR: Final = "Hajjar, Chizat & Giraud, arXiv:2110.15596"
_HAAS: Final = "Haas, Bordt, von Luxburg & Vankadara, arXiv:2505.22491"
_EVERETT: Final = "Everett et al., arXiv:2407.05872, full alignment (rates computed from that assumption)"
_READING: Final = f"our reading of {_HAJJAR}"


@dataclass(frozen=True, slots=True)
class Preset:
    """A published parameterization.

    Attributes:
        name: Lower-case name for specs.
        description: One line.
        source: Paper and place.
        build: Exponents at a number of hidden layers L >= 1, for gradient descent.
        build_adam: Those for Adam: the largest stable rates with epsilon scaled faithfully, or, for "sp",
            those of frameworks. None: not defined.
        adjust: From Adam's exponents to those of optimizers without epsilon whose updates do not depend on
            the gradient's size: signs and orthogonalized updates.
        adam_advice: Why it is not defined for Adam, and what to use instead.
        largest_depth: Largest L it is defined for; None: any.
    """

    name: str
    description: str
    source: str
    build: Build
    build_adam: Build | None = None
    adam_advice: str = ""
    adjust: Adjust = per_layer
    largest_depth: int | None = None

    def exponents(self, hidden_layers: int, optimizer: str = "sgd") -> Parameterization:
        """Exponents at a depth, for an optimizer.

        Args:
            hidden_layers: L >= 1.
            optimizer: Name in `ipcore.catalogue.KNOWN_OPTIMIZERS`. Optimizers whose updates are nearly signs
                of the gradient have the exponents for Adam; without an epsilon they have no d. Those with
                orthogonalized updates have rates under which updates are as large as Adam's. All others have
                the exponents for gradient descent.

        Raises:
            TheoryError: Unknown optimizer, a depth at which it is not defined, or a preset without exponents
                for Adam; says what to use instead.
        """
        if not _entrywise(optimizer):
            return self.build(hidden_layers)
        if self.build_adam is None:
            raise TheoryError(f"{self.name!r} is not defined for {optimizer}: {self.adam_advice}", "preset")
        p, entry = self.build_adam(hidden_layers), KNOWN_OPTIMIZERS[optimizer]
        return p if entry.analysed_as == "adam" else self.adjust(p, entry.entries)


def _entrywise(optimizer: str) -> bool:
    """Whether an optimizer has the exponents for Adam."""
    check_name(optimizer, KNOWN_OPTIMIZERS, "optimizer")
    return KNOWN_OPTIMIZERS[optimizer].entrywise


def up(s: Fraction) -> Preset:
    """The line from muP (s = 0) to the NTK parameterization (s = 1/2).

    Args:
        s: 0 <= s <= 1/2; features move like m^{-s} in every hidden layer.

    Raises:
        TheoryError: s outside its range.
    """
    if not 0 <= s <= _HALF:
        raise TheoryError(f"s must be between 0 and 1/2, not {s}; write for example 'up:1/4'", "preset")

    return Preset(
        f"up:{s}",
        f"Between muP (up:0) and NTK (up:1/2): features move like m^(-{s}); any 0 <= s <= 1/2",
        "inside the class of arXiv:2011.14522, r = s; Yaida, arXiv:2210.04909, with s there 1 - 2s",
        between(s),
        adam_advice="its rates are made for gradient descent; use mup or ntk, its ends",
    )


_NO_LLR: Final = "its updates do not shrink with the gradient, so IP needs no large first step: use ip"
_NO_BIAS: Final = (
    "its rates and biases are made for gradient descent, and Adam needs no large first step: use ip"
)
_NO_MEAN: Final = "its rates are made for gradient descent: use ip"
_NO_HYBRID: Final = "its re-weighting stands for the large first step of gradient descent: use mup or ip"
_PRESETS: Final = (
    Preset("sp", "Standard parameterization, the framework default", _TP4, sp, sp_adam, adjust=same_rate),
    Preset(
        "sp-stable",
        "Standard with the global rate 1/m that keeps it stable: kernel",
        _TP4,
        sp_stable,
        adam_advice="rate 1/m in every layer leaves its output growing like m^(1/2): use ntk or mup, or sp",
    ),
    Preset(
        "sp-large",
        "Standard with the global rate m^(-1/2), for Adam 1/m: features move and f diverges, controlled",
        _HAAS,
        sp_large,
        sp_large_adam,
        adjust=one_rate,
    ),
    Preset(
        "sp-per-layer",
        "Standard with a rate per layer: features move in every layer and f diverges, controlled",
        _EVERETT,
        sp_per_layer,
        sp_per_layer_adam,
    ),
    Preset("ntk", "Neural tangent kernel: a kernel machine in the limit", _TP4, ntk, faithful_adam(ntk)),
    Preset(
        "mup", "Maximal update: features move in every layer (gauge b = 0)", _TP4, mup, faithful_adam(mup)
    ),
    Preset(
        "mup-yang-hu",
        "Maximal update in Yang & Hu's gauge (c = 0)",
        _TP4,
        mup_yang_hu,
        faithful_adam(mup_yang_hu),
    ),
    Preset(
        "mfp",
        "Mean field, one hidden layer: IP and muP at L = 1",
        _TP4,
        mfp,
        faithful_adam(mfp),
        largest_depth=1,
    ),
    Preset("ip", "Integrable (mean field): stationary in the limit for L >= 3", _HAJJAR, ip, ip_adam),
    Preset("ip-llr", "Integrable with large learning rates at step 0", _HAJJAR, ip_llr, adam_advice=_NO_LLR),
    Preset(
        "ip-bias", "Integrable with biases of order 1 in every layer", _HAJJAR, ip_bias, adam_advice=_NO_BIAS
    ),
    Preset(
        "ip-non-centered",
        "Integrable, weights drawn with a mean",
        _HAJJAR,
        ip_non_centered,
        adam_advice=_NO_MEAN,
    ),
    Preset(
        "hp",
        "muP whose initial hidden matrices count m^(-1/2) from step 1 on",
        _READING,
        hp,
        adam_advice=_NO_HYBRID,
    ),
    Preset(
        "hpz",
        "muP whose initial hidden matrices are removed from step 1 on",
        _READING,
        hpz,
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
    family, colon, argument = name.partition(":") if isinstance(name, str) else ("", "", "")
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
        optimizer: Name in `ipcore.catalogue.KNOWN_OPTIMIZERS`; presets have other rates for updates that do
            not depend on the gradient's size, and with Adam exponents of epsilon.

    Raises:
        TheoryError: Unknown name or optimizer, L outside its range, or a preset that is not defined at this
            depth or for this optimizer.

    >>> [str(c) for c in preset("ip-llr", hidden_layers=4).c_at(0)]
    ['-5/2', '-3', '-3', '-3', '-5/2']
    >>> [str(c) for c in preset("mup", hidden_layers=2, optimizer="adam").c_at(0)]
    ['0', '1/2', '0']
    >>> [str(c) for c in preset("mup-yang-hu", hidden_layers=2, optimizer="muon-spectral").c_at(0)]
    ['1/2', '0', '-1/2']
    """
    findings = Findings()
    with findings.noted():
        found = find_preset(name)
    with findings.noted():
        check_depth(hidden_layers)
    with findings.noted():
        rule_of(optimizer)
    findings.check()
    return found.exponents(hidden_layers, optimizer)


def presets_at(hidden_layers: int, *, optimizer: str = "sgd") -> dict[str, Parameterization]:
    """All presets that are defined at a depth and for an optimizer, in the catalogue's order.

    Raises:
        TheoryError: L outside its range, or an unknown optimizer.
    """
    check_depth(hidden_layers)
    descent = not _entrywise(optimizer)
    return {
        name: entry.exponents(hidden_layers, optimizer)
        for name, entry in PRESETS.items()
        if (entry.largest_depth is None or hidden_layers <= entry.largest_depth)
        and (descent or entry.build_adam is not None)
    }
