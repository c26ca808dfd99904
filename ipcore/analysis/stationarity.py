"""Whether the output moves: |f_t - f_0| against the width (Hajjar et al., arXiv:2110.15596, section 3).

A parameterization is trivial if f_t - f_0 vanishes in the limit at every step. This check only asks whether
it falls; `ipcore.analysis.coordinate_check` compares its slope. Theory is applied to the step that was
measured: a parameterization that is not trivial may stand still in its first steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.analysis.coordinate_check import READOUT_TOLERANCE, sizes_at
from ipcore.analysis.coordinate_report import Prediction
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import FALL, Judgement, Trend, Verdict, judge, trend
from ipcore.theory import Analysis, Regime


@dataclass(frozen=True, slots=True)
class Stationarity:
    """Whether the output's change falls with the width, and whether theory says so.

    Attributes:
        step: Updates done.
        fit: Slope of mean |f_t - f_0|.
        trend: The measured trend.
        predicted: The predicted trend; UNDECIDED where theory leaves it open.
        verdict: Whether the two agree.
        sentence: The finding in one sentence.
    """

    step: int
    fit: Slope
    trend: Trend
    predicted: Trend
    verdict: Verdict
    sentence: str


def check_stationarity(
    samples: Samples,
    prediction: Prediction | Analysis,
    step: int,
    *,
    slope: Judgement | None = None,
) -> Stationarity:
    """Compare the trend of |f_t - f_0| with the one predicted for this step.

    Args:
        samples: Mean |f_t - f_0| at `step` >= 1.
        prediction: Analysis of the parameterization, or two that may both hold; beyond its steps it stands
            only if it has settled.
        step: Updates done.
        slope: The verdict on the slope, if there is one. If it does not disagree, a trend that differs is no
            disagreement either: the leading term does not show yet.

    Raises:
        AnalysisError: As `Samples.measured` and `fit_slope`.
    """
    fit = fit_slope(samples)
    measured, why = trend(fit)
    both = prediction if isinstance(prediction, Prediction) else Prediction(prediction)
    analysis = both.analysis
    predicted = _predicted(analysis, step)
    if both.other is not None and _predicted(both.other, step) is not predicted:
        predicted, why = Trend.UNDECIDED, both.why
    if Trend.UNDECIDED in (measured, predicted):
        verdict = Verdict.UNDECIDED
    elif measured is predicted:
        verdict = Verdict.AGREES
    else:
        judged = slope or _against(fit, analysis, step)
        certain = judged.verdict in {Verdict.DISAGREES, Verdict.NOT_YET}
        verdict, why = judged.verdict if certain else Verdict.UNDECIDED, judged.why
    said = "leaves it open" if predicted is Trend.UNDECIDED else f"says it {predicted} there"
    fall = "it is undecided whether it falls" if measured is Trend.UNDECIDED else f"it {measured}"
    sentence = (
        f"change of f at step {step} {verdict}: {fall} with the width (slope {fit.slope}), theory {said} "
        f"({analysis.regime.replace('_', ' ')}), {fit.data}"
    )
    return Stationarity(step, fit, measured, predicted, verdict, f"{sentence}; {why}" if why else sentence)


def _against(fit: Slope, analysis: Analysis, step: int) -> Judgement:
    """The verdict if trends differ: "disagrees" unless the slope does not disagree (a term may be hidden)."""
    sizes = sizes_at(analysis, step)
    if sizes.f_change is None:
        return Judgement(Verdict.DISAGREES)
    return judge(fit, sizes.f_change, tolerance=READOUT_TOLERANCE, upper_bound=not sizes.exact)


def _predicted(analysis: Analysis, step: int) -> Trend:
    sizes = sizes_at(analysis, step)
    if sizes.f_change is None or sizes.f_change < FALL:
        return Trend.FALLS  # an upper bound that falls is enough
    if sizes.f_change < 0:
        return Trend.UNDECIDED
    # After something has grown there are only upper bounds, but nothing lets it fall.
    diverges = analysis.regime in {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE}
    return Trend.STAYS if sizes.exact or diverges else Trend.UNDECIDED
