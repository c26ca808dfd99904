"""Slopes of calibrated rates against the deficits of alignment."""

import pytest

from ipcore.analysis import Verdict, check_calibrated_rates
from ipcore.errors import AnalysisError
from ipcore.theory import analyze, preset
from tests.ipcore.analysis.synthetic import power, samples


def rates(*exponents):
    return {layer: samples(power(e), noise=0.02, key=[layer]) for layer, e in enumerate(exponents, start=2)}


@pytest.mark.parametrize(
    ("activation", "exponents"),
    # IP-LLR, L = 3: flat for ReLU; m^0, m^1/2, m^1/2 for activations that are linear at 0.
    [("relu", (0.0, 0.0, 0.0)), ("tanh", (0.0, 0.5, 0.5)), ("gelu", (0.0, 0.5, 0.5))],
)
def test_predicted_by_the_alignment(activation, exponents):
    found = check_calibrated_rates(rates(*exponents), analyze(preset("ip-llr", 3), activation=activation))
    assert [(c.layer, float(c.predicted), c.verdict) for c in found] == [
        (layer, exponent, Verdict.AGREES) for layer, exponent in enumerate(exponents, start=2)
    ]


def test_flat_rates_disagree_where_they_should_grow():
    found = check_calibrated_rates(rates(0.0, 0.0, 0.0), analyze(preset("ip-llr", 3), activation="tanh"))
    assert [c.verdict for c in found] == [Verdict.AGREES, Verdict.DISAGREES, Verdict.DISAGREES]


@pytest.mark.parametrize(("name", "said"), [("ip", "largest stable rates"), ("hp", "re-weighted")])
def test_other_rates_have_no_prediction(name, said):
    with pytest.raises(AnalysisError, match=said):
        check_calibrated_rates(rates(0.0, 0.0, 0.0), analyze(preset(name, 3)))
