"""Arithmetic of a measurement, by hand."""

import pytest

from ipcore.catalogue import PROBES
from ipcore.config import PackConfig, Probes
from ipcore.probes import probe_cost


@pytest.mark.parametrize(
    ("quantities", "cost"),
    [
        # d = 2, m = 4, C = 3: one pass over 5 examples is 5 (2*4 + 4*3).
        (("coordinates",), 100),
        # Forward, backward and the product that makes the gradients.
        (("gradients",), 300),
        # Forward, backward, W_0 and Delta W on x, W_0 on what changed, Delta W^T on derivatives.
        (("alignment",), 700),
        # Forward, and W_0 on what changed.
        (("parts",), 200),
        # Three 4 x 4 products over 5 examples.
        (("kernels",), 100 + 3 * 80),
        # Gram matrices of x (5 x 4), of 4 x 2 and of 3 x 4, and their eigenvalues.
        (("ranks",), 100 + 2 * (80 + 16 + 36)),
        # A pass over 5 examples, one update of 2 examples (3 passes), and its two effects on the 5.
        (("isolated_updates",), 100 + 120 + 200),
        (tuple(PROBES), 800 + 240 + 264 + 320),
    ],
)
def test_multiply_adds(quantities, cost):
    probes = Probes(quantities, steps=(0,), examples=5)
    assert probe_cost(PackConfig("digits", 1, 4, "relu", 2, 3, probes=probes), 2, 3) == cost
