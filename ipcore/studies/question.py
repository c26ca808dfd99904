"""Questions: frozen dataclasses with subjects, a tolerance, an error rate and a budget."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Final

from ipcore.studies.subjects import Budget, RunCost, Setting, Subject

SLOPE_WIDTHS: Final = (64, 128, 256, 512, 1024)
DRIFT_WIDTHS: Final = (128, 256, 512, 1024)
SLOPE_TOLERANCE: Final = 0.1
READOUT_TOLERANCE: Final = 0.2
DRIFT_TOLERANCE: Final = 0.25
DISTANCE_TOLERANCE: Final = 0.05
FALL: Final = -0.25
"""A size falls with the width if its slope lies below: midway between the possible exponents 0 and -1/2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Fields of all questions.

    Attributes:
        subjects: At least one (two for questions that compare); no two may be the same network.
        setting: How they are trained.
        budget: Limits of what may be spent.
        tolerance: tau, distance from the prediction that still agrees. None: 0.1 for slopes (0.2 at the
            output and for calibrated rates), 0.25 octaves for drifts; 0.02 for gaps in accuracy.
            For `InfiniteWidth` it is the distance to the limit that is small enough, 0.05.
        error_rate: Probability of any wrong "agrees" or "disagrees" in the whole study, in (0, 0.5).
        widths: Widths at the start, each twice the last. (): 64..1024; rate transfer: 128..1024.
        max_width: Widest network that fits into memory. A study widens its networks up to here.
        run_cost: Cost of a run until some are measured; None: unknown, and the first round is not compared
            with core-hours and wall time.
        cores: Cores that work at once; turns core-seconds into wall time.
    """

    kind: ClassVar[str] = ""
    default_widths: ClassVar[tuple[int, ...]] = SLOPE_WIDTHS

    subjects: tuple[Subject, ...]
    setting: Setting = Setting()
    budget: Budget = Budget()
    tolerance: float | None = None
    error_rate: float = 0.05
    widths: tuple[int, ...] = ()
    max_width: int = 8192
    run_cost: RunCost | None = None
    cores: float = 1.0

    @property
    def first_widths(self) -> tuple[int, ...]:
        """The widths at which the study starts."""
        return self.widths or self.default_widths


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateCheck(Question):
    """Do sizes at step 0, isolated updates, and changes depend on the width as theory says?

    Attributes:
        isolated: Whether updates of one layer alone are measured.
        change_steps: Updates after which changes are checked, ascending; () : none. A change may hide its
            leading term at the widths that a budget allows, so they come last.
    """

    kind: ClassVar[str] = "coordinate-check"
    isolated: bool = True
    change_steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTransfer(Question):
    """Does the best base rate move with the width? Octaves per doubling, from final test losses."""

    kind: ClassVar[str] = "rate-transfer"
    default_widths: ClassVar[tuple[int, ...]] = DRIFT_WIDTHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stationarity(Question):
    """Does the change of the output, mean |f_t - f_0|, fall with the width?

    Attributes:
        step: t >= 1, updates done.
    """

    kind: ClassVar[str] = "stationarity"
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence(Question):
    """Do two parameterizations become the same network? Distance of f_t at the same seed.

    Subjects are compared in pairs: the first with each other one of the same activation and depth.

    Attributes:
        step: t >= 0, updates done.
        within: Also ask whether the mean distance (rms over inputs and outputs) is below this, > 0, at the
            largest width of `widths`; None: only whether it falls.
    """

    kind: ClassVar[str] = "equivalence"
    step: int = 1
    within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedRates(Question):
    """By which power of the width do the calibrated first rates of layers 2..L+1 grow?"""

    kind: ClassVar[str] = "calibrated-rates"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationGap(Question):
    """How far apart are activations: final test accuracy at the largest width, alignment per layer?

    Subjects of one parameterization and depth are compared with the first of them, seed by seed.

    Attributes:
        alignment_step: t >= 1, updates after which the alignment of layers 2..L+1 is measured; 0: not at all.
    """

    kind: ClassVar[str] = "activation-gap"
    alignment_step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBoundary(Question):
    """Where, along one exponent, does a layer's own update stop counting in the change of a size?

    Attributes:
        exponent: The exponent that is moved: "a", "b" or "c".
        layer: The layer whose exponent it is, 1..L+1; 0: all together.
        observed: The layer whose change is measured, 1..L+1.
        step: t >= 1, updates done.
        boundary: p, the presumed boundary. None: theory's, nearest to the subject's own value.
    """

    kind: ClassVar[str] = "phase-boundary"
    exponent: str = "c"
    layer: int = 0
    observed: int = 1
    step: int = 1
    boundary: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Question):
    """Does f_t converge like m^(-1/2), and how far is it from the limit at the largest width?

    Attributes:
        step: t >= 0, updates done.
        within: Also ask whether the remainder at the largest width is below this, > 0.
        limit: f_t of the infinitely wide network at the inputs of the probe, by subject, if it was computed.
            (): distances of disjoint pairs of seeds take its place.
    """

    kind: ClassVar[str] = "limit"
    step: int = 1
    within: float | None = None
    limit: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InfiniteWidth(Question):
    """How far are networks from their infinite-width limit, and at which width m* are they near enough?

    The distance is that of outputs on the test set after the last update, seed by seed, relative to the
    limit's; `tolerance` is what is near enough. The caller says which limits can be computed
    (`ipcore.limits.kinds`).

    Attributes:
        without_limit: `str(subject)` of those whose limit is not computed. Networks with deferred weights
            take its place, `TIMES_WIDER` (`ipcore.catalogue.widths`) times wider than the widest one
            compared, which may be wider than `max_width`.
        paired: `str(subject)` of those whose limit is a kernel machine with a random f_0. Each network is
            compared with the machine that starts from its own f_0, and has recorded its distance from it.
    """

    kind: ClassVar[str] = "infinite-width"
    without_limit: tuple[str, ...] = ()
    paired: tuple[str, ...] = ()


KINDS: Final = (
    CoordinateCheck,
    RateTransfer,
    Stationarity,
    Equivalence,
    CalibratedRates,
    ActivationGap,
    PhaseBoundary,
    Limit,
    InfiniteWidth,
)
