"""The exponent calculus: exact, standard library only (the thin client imports it)."""

from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import format_exponent, parse_exponent
from ipcore.theory.parameterization import Parameterization, RatePhase, custom
from ipcore.theory.presets import PRESETS, Preset, preset

__all__ = [
    "PRESETS",
    "Parameterization",
    "Preset",
    "RatePhase",
    "TheoryError",
    "custom",
    "format_exponent",
    "parse_exponent",
    "preset",
]
