"""The five methods that the authors compare, and means over their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import ipcore
from ipcore.figures import Moment, mean
from ipcore.theory import preset

METHODS: Final = ("ip", "ip-llr", "ip-bias", "ip-non-centered", "mup")
# The settings of 2021: target of the readout's first update, largest first rate.
_CALIBRATION: Final = ipcore.Calibration(readout_target=0.1, cap=500.0)

# Fewer seeds have no band: their interval is wider than the axes.
_FEWEST: Final = 4


def moment(x: float, values: Sequence[float], *, geometric: bool = False) -> Moment:
    """The mean over seeds, with its interval if there are at least four."""
    found = mean(values, geometric=geometric)
    if found.count < _FEWEST:
        return Moment(x, found.value)
    return Moment(x, found.value, found.low, found.high)


def calibrated(name: str, hidden_layers: int, rate: float, seed: int) -> ipcore.RunConfig:
    """A run of a method; the first rates of IP-LLR are calibrated, as by the authors."""
    calibration = _CALIBRATION if name == "ip-llr" else None
    return ipcore.RunConfig(preset(name, hidden_layers), rate, seed, calibration)
