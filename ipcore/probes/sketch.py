"""The linear sketch of a network's outputs on the test set (`ipcore.probes.outputs`).

The n numbers f_i are dealt to SIZE sums by a random permutation, as evenly as possible, each with a random
sign s_i: S_k = sum of s_i f_i / sqrt(n) over sum k. Signs are independent, so products of different f_i
cancel on average, and E sum_k S_k^2 = mean f_i^2. With q = n / SIZE numbers in each sum

    Var sum_k S_k^2 = 2 (q - 1) / (n - 1) ((mean f^2)^2 - mean f^4 / n) <= 2 / SIZE (mean f^2)^2,

that of SIZE Gaussian projections or less, at the cost of one addition for each output (it is the count sketch
of Charikar, Chen & Farach-Colton, 2002, with equal shares). Where n <= SIZE it is exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ipcore.probes.outputs import SIZE
from ipcore.randomness import output_signs

Floats = npt.NDArray[np.float64]


class Sketch:
    """The sums of one test set: a function of its number of outputs alone.

    Args:
        outputs: n, numbers of all outputs of all test examples.
    """

    def __init__(self, outputs: int) -> None:
        self._sums, self._signs = output_signs(outputs, SIZE)

    def of(self, chunks: Iterable[Tensor], runs: int) -> Floats:
        """The values that the probe records.

        Args:
            chunks: Outputs at consecutive test examples, (K, b, C) each, together the whole test set.
            runs: K.

        Returns:
            (K, 1 + SIZE): mean of f^2, then the sums; not finite where f is not. In double precision, in the
            order of the test set, so that chunks do not matter but for the rounding of f.
        """
        found, begin, n = np.zeros((runs, 1 + SIZE)), 0, len(self._sums)
        with np.errstate(over="ignore", invalid="ignore"):
            for chunk in chunks:
                values = chunk.reshape(runs, -1).to("cpu").double().numpy()
                here = slice(begin, begin := begin + values.shape[1])
                found[:, 0] += (values**2).sum(axis=1)
                for row, signed in zip(found, values * self._signs[here], strict=True):
                    row[1:] += np.bincount(self._sums[here], weights=signed, minlength=SIZE)
            if begin != n:
                raise ValueError(f"the sketch is of {n} numbers, not {begin}")
            found[:, 0] /= n
            found[:, 1:] /= n**0.5
        return found
