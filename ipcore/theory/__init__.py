"""The exponent calculus: exact, standard library only (the thin client imports it)."""

from ipcore.theory.activation import ACTIVATIONS
from ipcore.theory.analysis import MAX_ANALYSIS_LAYERS, Analysis, StepSizes, analyze
from ipcore.theory.building import custom
from ipcore.theory.completion import Completion, complete
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import decimal_note, decimal_notes, format_exponent, parse_exponent
from ipcore.theory.gauge import canonical, equivalent, gauge_of, shift
from ipcore.theory.largest_rate import LargestRate, largest_rate_of, largest_stable_rate
from ipcore.theory.parameterization import (
    MAX_HIDDEN_LAYERS,
    Biases,
    Parameterization,
    RatePhase,
    Reweighting,
)
from ipcore.theory.presets import PRESETS, Preset, find_preset, preset, presets_at
from ipcore.theory.published import TABLES, in_gauge_of, published
from ipcore.theory.rules import LOSSES, OPTIMIZERS
from ipcore.theory.stable_rates import ParetoPoint, StableRates
from ipcore.theory.targets import KINDS as COMPLETION_KINDS
from ipcore.theory.trajectory import LayerAlignment
from ipcore.theory.verdict import FeatureMove, Regime

__all__ = [
    "ACTIVATIONS",
    "COMPLETION_KINDS",
    "LOSSES",
    "MAX_ANALYSIS_LAYERS",
    "MAX_HIDDEN_LAYERS",
    "OPTIMIZERS",
    "PRESETS",
    "TABLES",
    "Analysis",
    "Biases",
    "Completion",
    "FeatureMove",
    "LargestRate",
    "LayerAlignment",
    "Parameterization",
    "ParetoPoint",
    "Preset",
    "RatePhase",
    "Regime",
    "Reweighting",
    "StableRates",
    "StepSizes",
    "TheoryError",
    "analyze",
    "canonical",
    "complete",
    "custom",
    "decimal_note",
    "decimal_notes",
    "equivalent",
    "find_preset",
    "format_exponent",
    "gauge_of",
    "in_gauge_of",
    "largest_rate_of",
    "largest_stable_rate",
    "parse_exponent",
    "preset",
    "presets_at",
    "published",
    "shift",
]
