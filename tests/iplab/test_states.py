"""States and regimes as the service sends them."""

import pytest

from iplab.states import Regime
from iplab.v1 import theory_pb2

REGIMES = [value.name for value in theory_pb2.Regime.DESCRIPTOR.values if value.number]


@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_of_the_service_has_words(name):
    regime = Regime.read(name.removeprefix("REGIME_"))
    assert regime is not Regime.UNKNOWN
    words = name.removeprefix("REGIME_").lower().replace("_", " ")
    assert regime.words == ("not settled" if words == "measure" else words)
    assert regime.meaning


def test_a_regime_of_a_newer_service_is_unknown():
    assert Regime.read("SOMETHING_NEW").words == "not covered"
