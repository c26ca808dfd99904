"""The methods of arXiv:2110.15596 as runs of a pack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.theory import preset
from tests.gpu.packs import PackJob

METHODS: Final = ("ip-llr", "mup", "ip-non-centered", "ip-bias", "ip")
ACTIVATIONS: Final = ("gelu", "elu", "tanh", "relu")
# Updates: MNIST 600, CIFAR-10 1,200.
DATASETS: Final = {"cifar10-grey": 1200, "mnist": 600}
# Replaces them if there is no GPU.
SMALL: Final = {"digits": 12}


def job(
    config: PackConfig, rates: Sequence[float], seeds: Sequence[int], calibration: Calibration
) -> PackJob:
    """A pack of all methods at some rates and seeds. Only IP-LLR's first rates are calibrated."""
    points = [(method, rate, seed) for method in METHODS for rate in rates for seed in seeds]
    runs = [
        RunConfig(
            preset(method, config.hidden_layers), rate, seed, calibration if method == "ip-llr" else None
        )
        for method, rate, seed in points
    ]
    shape = f"L={config.hidden_layers} m={config.width} steps={config.steps}"
    chosen = f"seeds={','.join(map(str, seeds))} rates={len(rates)}"
    name = f"{config.dataset} {config.activation} {config.precision} {shape} {chosen}"
    return PackJob(name, config, tuple(runs), tuple(method for method, _, _ in points))
