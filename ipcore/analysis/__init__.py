"""Comparison of measurements with theory: slopes over widths, and verdicts on them.

Imports only numpy, scipy, `ipcore.theory`, the catalogue and the intervals of `ipcore.figures`. A verdict is
agrees, disagrees, undecided or not yet, with the numbers behind it; docs/analysis.md states the rule. Nothing
here trains or reads files: measurements are passed in as `Samples`. `make_report` takes all that an
experiment measured and decides which kinds of check (`kinds/`) apply.
"""

from ipcore.analysis.alignment_check import AlignmentReport, Theta, check_alignment
from ipcore.analysis.calibrated_rates import CalibratedRate, check_calibrated_rates
from ipcore.analysis.case import Case, Kind, Measured, Run, Trained
from ipcore.analysis.coordinate_check import check_coordinates
from ipcore.analysis.coordinate_report import Coordinate, CoordinateReport, Prediction
from ipcore.analysis.epsilon import LayerEpsilon, layer_epsilons, predictions_at
from ipcore.analysis.equivalence import Equivalence, compare_pairs
from ipcore.analysis.finite_width import FiniteWidth, finite_width
from ipcore.analysis.intervals import Estimate
from ipcore.analysis.limit_distance import (
    LimitDistance,
    NeededWidth,
    WidthDistance,
    fit_distances,
    limit_distance,
)
from ipcore.analysis.measured_slopes import MeasuredSlope, measure_coordinates
from ipcore.analysis.predicted_drift import PredictedDrift, predicted_drift
from ipcore.analysis.rate_transfer import RateTransfer, check_rate_transfer
from ipcore.analysis.report import Check, Conclusion, Report, Subject, WidthValue
from ipcore.analysis.reporting import make_report
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.stationarity import Stationarity, check_stationarity
from ipcore.analysis.verdicts import Judgement, Trend, Verdict, judge, trend

__all__ = [
    "AlignmentReport",
    "CalibratedRate",
    "Case",
    "Check",
    "Conclusion",
    "Coordinate",
    "CoordinateReport",
    "Equivalence",
    "Estimate",
    "FiniteWidth",
    "Judgement",
    "Kind",
    "LayerEpsilon",
    "LimitDistance",
    "Measured",
    "MeasuredSlope",
    "NeededWidth",
    "PredictedDrift",
    "Prediction",
    "RateTransfer",
    "Report",
    "Run",
    "Samples",
    "Slope",
    "Stationarity",
    "Subject",
    "Theta",
    "Trained",
    "Trend",
    "Verdict",
    "WidthDistance",
    "WidthValue",
    "check_alignment",
    "check_calibrated_rates",
    "check_coordinates",
    "check_rate_transfer",
    "check_stationarity",
    "compare_pairs",
    "finite_width",
    "fit_distances",
    "fit_slope",
    "judge",
    "layer_epsilons",
    "limit_distance",
    "make_report",
    "measure_coordinates",
    "predicted_drift",
    "predictions_at",
    "trend",
]
