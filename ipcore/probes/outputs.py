"""Outputs on the test set, as few numbers: what distances between two runs follow from.

The test set has too many outputs to record them all. `SIZE` sums with random signs (`ipcore.probes.sketch`),
the same for every run, are a linear map S with E |S(f - g)|^2 = mean (f - g)^2. So distances, variances over
seeds and squared biases of f follow from those of S f, to a relative error of at most sqrt(2 / SIZE) of a
square (12.5 %), less where differences of several seeds are averaged.
"""

from __future__ import annotations

from typing import Final

from ipcore.probes.definition import Definition

SIZE: Final = 128
METRIC: Final = "output_sketch"

OUTPUTS: Final = Definition(
    quantities=(),
    # 0 is the mean square of all outputs itself, exactly: what distances are relative to.
    metrics=tuple(f"{METRIC}/{i}" for i in range(SIZE + 1)),
)


def is_sketch(metric: str) -> bool:
    """Whether a metric is one of such sums, which mean nothing to a reader one by one.

    >>> is_sketch("output_sketch/7"), is_sketch("paired_sketch/7"), is_sketch("paired_distance")
    (True, True, False)
    """
    return metric.partition("/")[0].endswith("_sketch")
