"""The exponent calculus: exact, standard library only (the thin client imports it)."""

from ipcore.theory.activation import ACTIVATIONS
from ipcore.theory.analysis import Analysis, StepSizes
from ipcore.theory.analyzing import analyze
from ipcore.theory.building import custom
from ipcore.theory.checks import MAX_HIDDEN_LAYERS
from ipcore.theory.completion import Completion, complete
from ipcore.theory.coverage import MAX_ANALYSIS_LAYERS
from ipcore.theory.diagram import MAX_PHASES_LAYERS, MAX_PHASES_WORK, UNDECIDED, Phase, Phases, phases
from ipcore.theory.diagram_text import phase_name
from ipcore.theory.epsilon import epsilon_crossovers, gradient_exponents
from ipcore.theory.errors import TheoryError
from ipcore.theory.expected import ExpectedChange, MeasuredParts, expected_changes
from ipcore.theory.exponents import decimal_note, decimal_notes, format_exponent, parse_exponent
from ipcore.theory.gauge import canonical, equivalent, gauge_of, shift
from ipcore.theory.given_alignment import ALIGNMENTS, Alignment
from ipcore.theory.isolated import IsolatedChanges, isolated_changes
from ipcore.theory.largest_rate import LargestRate, largest_rate_of, largest_stable_rate
from ipcore.theory.parameterization import Biases, Parameterization, RatePhase, Reweighting
from ipcore.theory.parts import LayerParts, parts_of
from ipcore.theory.presets import PRESETS, Preset, find_preset, preset, presets_at
from ipcore.theory.published import TABLES, in_gauge_of, published
from ipcore.theory.regime import FeatureMove, Regime
from ipcore.theory.residual import DepthExponents, depth_exponents
from ipcore.theory.rules import EPSILONS, LOSSES, OPTIMIZERS
from ipcore.theory.stable_rates import ParetoPoint, StableRates
from ipcore.theory.sums import Power, crossover, fitted_slope, local_slope, sum_at
from ipcore.theory.targets import KINDS as COMPLETION_KINDS
from ipcore.theory.trajectory import LayerAlignment

__all__ = [
    "ACTIVATIONS",
    "ALIGNMENTS",
    "COMPLETION_KINDS",
    "EPSILONS",
    "LOSSES",
    "MAX_ANALYSIS_LAYERS",
    "MAX_HIDDEN_LAYERS",
    "MAX_PHASES_LAYERS",
    "MAX_PHASES_WORK",
    "OPTIMIZERS",
    "PRESETS",
    "TABLES",
    "UNDECIDED",
    "Alignment",
    "Analysis",
    "Biases",
    "Completion",
    "DepthExponents",
    "ExpectedChange",
    "FeatureMove",
    "IsolatedChanges",
    "LargestRate",
    "LayerAlignment",
    "LayerParts",
    "MeasuredParts",
    "Parameterization",
    "ParetoPoint",
    "Phase",
    "Phases",
    "Power",
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
    "crossover",
    "custom",
    "decimal_note",
    "decimal_notes",
    "depth_exponents",
    "epsilon_crossovers",
    "equivalent",
    "expected_changes",
    "find_preset",
    "fitted_slope",
    "format_exponent",
    "gauge_of",
    "gradient_exponents",
    "in_gauge_of",
    "isolated_changes",
    "largest_rate_of",
    "largest_stable_rate",
    "local_slope",
    "parse_exponent",
    "parts_of",
    "phase_name",
    "phases",
    "preset",
    "presets_at",
    "published",
    "shift",
    "sum_at",
]
