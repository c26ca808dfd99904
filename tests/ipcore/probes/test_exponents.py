"""What probes measure across widths has the exponents of theory: a small version of a coordinate check."""

import numpy as np
import pytest

from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

WIDTHS = (128, 256, 512, 1024)
SEEDS = range(2)


def measured(name: str, width: int, data: Dataset) -> dict[str, float]:
    """Means over seeds after the first update, L = 3, ReLU, base rate 0.2."""
    probes = Probes(("coordinates", "alignment"), steps=(1,), examples=32)
    config = PackConfig("digits", 3, width, "relu", batch_size=64, steps=1, weights="none", probes=probes)
    runs = [RunConfig(preset(name, 3), 0.2, seed) for seed in SEEDS]
    values: dict[str, list[float]] = {}
    for _, metric, step, value in Trainer(config, runs, data).advance().points.rows():
        if "/" in metric and step == 1:
            values.setdefault(metric, []).append(value)
    return {metric: float(np.mean(found)) for metric, found in values.items()}


def test_slopes_of_the_first_change(digits: Dataset):
    """muP: every layer moves by Theta(1). NTK: hidden layers by m^{-1/2}, f by Theta(1).

    Tolerances are those seen at these widths: 0.1 in hidden layers, 0.2 at the output. Updates are aligned
    with what they act on (exponent 1), initial hidden matrices are not (1/2); constants in front fade like
    1/log m. (The initial readout is, with muP: x^L has moved along its rows.)
    """
    expected = {"mup": [0, 0, 0, 0], "ntk": [-0.5, -0.5, -0.5, 0]}
    for name, slopes in expected.items():
        by_width = [measured(name, width, digits) for width in WIDTHS]
        for layer, (slope, tolerance) in enumerate(zip(slopes, (0.1, 0.1, 0.1, 0.2), strict=True), start=1):
            sizes = [found[f"h_change/{layer}"] for found in by_width]
            fitted = np.polyfit(np.log(WIDTHS), np.log(sizes), 1)[0]
            assert fitted == pytest.approx(slope, abs=tolerance), (name, layer)
        for layer in (2, 3, 4):
            assert by_width[-1][f"alignment_update/{layer}"] > 0.9, (name, layer)
        for layer in (2, 3):
            assert by_width[-1][f"alignment_initial/{layer}"] == pytest.approx(0.5, abs=0.05), (name, layer)
