"""Normalized preactivations: x^l = phi(y^l) with y^l = h^l / rms(h^l) over the neurons (RMSNorm) [ours].

    e(y) = 0
    e(dh) = e(dy) - e(h)                        the derivative of y by h is 1/|h| times a projection
    e(y_t - y_0) = min(0, e(h_t - h_0) - e(h_0))    as far as h_t is not larger than h_0, else order 1

The output is not normalized. A network does not see the size of its h^l: only products of a gradient with
the next update do, through 1/|h|. So hidden layers neither vanish nor grow as seen by the layers above, and

    stable: e(f_t) <= 0 (bounded derivative of the loss: at most f grows, controlled divergence)
    features of layer l move: e(h_t - h_0) >= e(h_0), as without normalization

Larger preactivations make smaller gradients, so sizes do not grow with every exponent of alignment: two runs
of the calculus do not bracket the truth, and where alignment is in doubt the regime is "measure" unless
both give the same sizes.

Not covered: initial weights with a mean. From the second layer on all neurons share their leading part; y
divides by it, and the projection removes the shared part from every change and every gradient. Differences
between neurons remain, and the calculus, which keeps one size per vector, has no size for them.
"""

from __future__ import annotations

from typing import Final

from ipcore.catalogue import NORMALIZATIONS
from ipcore.theory.errors import TheoryError
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import Parameterization

NONE: Final = "none"
RMS: Final = "rms"


def check_normalization(normalization: str, p: Parameterization) -> bool:
    """Whether preactivations are normalized.

    Args:
        normalization: Name in `ipcore.catalogue.NORMALIZATIONS`.
        p: The parameterization.

    Raises:
        TheoryError: No such name, or initial weights that are not covered with it.
    """
    check_name(normalization, NORMALIZATIONS, "normalization")
    if normalization == NONE:
        return False
    if p.mean is not None:
        raise TheoryError(
            "not covered: initial weights with a mean and normalized preactivations: what all neurons share "
            "is divided away, and the differences between them have no size in this calculus",
            "normalization",
        )
    if p.reweightings and p.biases is not None:
        raise TheoryError(
            "not covered: re-weighted initial matrices beside biases with exponents of their own, with "
            "normalized preactivations",
            "normalization",
        )
    return True


def refuse(normalization: str, what: str) -> None:
    """Refuse a feature that is not covered with normalized preactivations.

    Raises:
        TheoryError: There is a normalization; says that `what` is not covered.
    """
    check_name(normalization, NORMALIZATIONS, "normalization")
    if normalization != NONE:
        raise TheoryError(
            f"not covered: {what} with normalized preactivations",
            "normalization",
        )
