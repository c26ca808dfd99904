"""Changes of layers by one update of their own from step 0 against their exponents.

Each is one term, so a slope that is too small hides nothing, and a disagreement names its layer and step.
Without a prediction, slopes are measured without a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipcore import theory
from ipcore.analysis.case import Case, Kind
from ipcore.analysis.coordinate_check import Key
from ipcore.analysis.coordinate_report import Prediction, sentence_of, without_prediction
from ipcore.analysis.kinds.coordinates import with_epsilon
from ipcore.analysis.report import Check, Conclusion, Report
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fitted
from ipcore.analysis.verdicts import Judgement, Verdict, judge
from ipcore.theory.maxplus import Size

_NAME: Final = "ISOLATED_UPDATE"
MATRIX: Final = "isolated_change"
BIAS: Final = "isolated_bias_change"


def _find(case: Case) -> Report:
    checks: list[Check] = []
    notes: list[str] = []
    predictions, more = _predictions(case)
    notes += more
    short = _short(case)
    if short:
        notes.append(
            "update 1 is not checked: calibration makes up for missing alignment, so it is larger than the "
            "exponents say; see the calibrated rates"
        )
    gaps = 0
    numbers = sum(1 for key, _ in _measured(case) if not (short and key[2] == 1))
    for key, samples in _measured(case):
        quantity, layer, step = key
        if step == 1 and short:
            continue
        what = name_of(quantity, layer, case.subject.layers, step)
        fit, note = fitted(samples, what)
        if note:
            notes.append(note)
            gaps += 1
        if fit is None:
            continue
        checks.append(_check(case, key, what, fit, predictions, numbers))
    conclusions = () if predictions is None else _conclusions(case, checks, gaps)
    return Report(tuple(checks), conclusions, tuple(notes))


def _predictions(case: Case) -> tuple[Prediction | None, tuple[str, ...]]:
    """Prediction for the side of epsilon that the gradients of step 0 show; None if there is none."""
    if isinstance(case.analysis, str):
        return None, ()
    found, notes = with_epsilon(case, (1,))
    return found.get(1, Prediction(case.analysis)), notes


def _short(case: Case) -> bool:
    """Whether calibration changes the exponents of first rates."""
    return (
        case.calibrated
        and not isinstance(case.analysis, str)
        and any(not layer.aligned for layer in case.analysis.alignment)
    )


def _measured(case: Case) -> Iterator[tuple[Key, Samples]]:
    """Samples by key, ordered by step, then by layer, matrix before bias."""
    keys = [key for key in case.samples if key[0] in (MATRIX, BIAS) and key[2] in case.steps and key[2] > 0]
    for key in sorted(keys, key=lambda key: (key[2], key[1], key[0] == BIAS)):
        yield key, case.samples[key]


def _check(case: Case, key: Key, what: str, fit: Slope, prediction: Prediction | None, numbers: int) -> Check:
    quantity, layer, step = key
    tolerance = 2 * case.tolerance if layer == case.subject.layers else case.tolerance
    expected = None if prediction is None else predicted(prediction.analysis, key)
    if prediction is None or expected is None:
        return Check.of(
            _NAME,
            case.subject,
            fit,
            Verdict.UNDECIDED,
            without_prediction(what, fit),
            quantity=quantity,
            layer=layer,
            step=step,
        )
    exact = theory.isolated_changes(prediction.analysis, step - 1).exact
    judged = judge(fit, expected, tolerance=tolerance, upper_bound=not exact, one_term=True, numbers=numbers)
    if prediction.other is not None and (other := predicted(prediction.other, key)) != expected:
        judged = Judgement(Verdict.UNDECIDED, f"{prediction.why}: between {expected} and {other}")
    return Check.of(
        _NAME,
        case.subject,
        fit,
        judged.verdict,
        sentence_of(what, fit, expected, tolerance, judged.verdict, judged.why, exact),
        quantity=quantity,
        layer=layer,
        step=step,
        predicted=expected,
        upper_bound=not exact,
        tolerance=tolerance,
    )


def predicted(analysis: theory.Analysis, key: Key) -> Size:
    """The exponent of a measured change; None where theory has none.

    Args:
        analysis: Analysis of the parameterization.
        key: Quantity, layer, and the state that the update led to, >= 1.
    """
    quantity, layer, step = key
    found = theory.isolated_changes(analysis, step - 1)
    row = found.by_matrix if quantity == MATRIX else found.by_bias
    return row[layer - 1] if layer <= len(row) else None


def name_of(quantity: str, layer: int, layers: int, step: int) -> str:
    """The measured quantity, in words.

    >>> name_of("isolated_bias_change", 2, 4, 1)
    'change of h^2 by update 1 of its bias alone'
    """
    size = "f" if layer == layers else f"h^{layer}"
    return f"change of {size} by update {step} of its {'matrix' if quantity == MATRIX else 'bias'} alone"


def _conclusions(case: Case, checks: list[Check], gaps: int) -> tuple[Conclusion, ...]:
    held = [(check, check.predicted) for check in checks if check.predicted is not None]
    if not held:
        return ()
    wrong = [(check, exponent) for check, exponent in held if check.verdict is Verdict.DISAGREES]
    if wrong:
        first, exponent = wrong[0]
        part = "" if first.quantity == MATRIX else " (its bias)"
        layer = "the output" if first.layer == case.subject.layers else f"layer {first.layer}"
        sentence = (
            f"isolated updates: {layer}{part} disagrees at update {first.step}: slope {first.slope:.2f}, "
            f"predicted {theory.format_exponent(exponent)}"
        )
        return (Conclusion(case.subject, Verdict.DISAGREES, sentence),)
    agreeing = sum(check.verdict is Verdict.AGREES for check, _ in held)
    sentence = f"isolated updates: {agreeing} of {len(held)} agree"
    if agreeing < len(held):
        sentence += f", {len(held) - agreeing} undecided, none disagrees"
    if gaps:
        sentence += f"; {gaps} could not be checked, or not at all widths and seeds"
    complete = agreeing == len(held) and not gaps
    return (Conclusion(case.subject, Verdict.AGREES if complete else Verdict.UNDECIDED, sentence),)


ISOLATED_UPDATES: Final = Kind(
    _NAME,
    applies=lambda case: any(quantity in (MATRIX, BIAS) for quantity, _, _ in case.samples),
    find=_find,
    probe="isolated_updates",
    reads=(MATRIX, BIAS, "gradient"),
    everywhere=(MATRIX, BIAS),
)
