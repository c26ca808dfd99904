"""Inner products between step 0 and later steps: where the law of large numbers applies, and where not.

The first update of layer l is rank one, Delta W_0^l = -eta m^{...} dh_0^l (x_0^{l-1})^T. What it adds at step
t is proportional to x_0^{l-1} . x_t^{l-1}, a sum over m neurons. *Aligned* means that this sum is of order m
|x_0| |x_t|. If x_0 is centred and independent of what dominates x_t, it is a random sum: m^{1/2} |x_0| |x_t|.
That happens where activations vanish at initialization and the activation is linear at 0: after the first
step x_t is dominated by the update, whose direction (a backward Gaussian) is independent of x_0 (a forward
Gaussian). The forward and backward recursions below are ours; for tensors of order 1 they reduce to the law
of large numbers of Yang & Hu (arXiv:2011.14522).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from ipcore.theory.activation import Activation
from ipcore.theory.maxplus import Size, inverse, largest, smaller, times
from ipcore.theory.units import Unit

_ZERO: Final = Fraction(0)


def shared_product(
    unit: Unit, *, weight: Fraction, bias: Size, kept: Size, below: Size, skipped: Size = None
) -> Size:
    """Exponent of the part of h_0^l . h_t^l through the initial matrix, a bias, and a skip connection.

    Args:
        unit: In which exponents are counted.
        weight: Exponent of the entries of the initial matrix, -(a_l + b_l).
        bias: Likewise of the initial bias; None: there is none.
        kept: Exponent of the remainder of the initial matrix at step t; None: removed.
        below: I^{l-1}; 0 below the first layer, the inputs being the same.
        skipped: The result for the layer whose preactivation a residual block adds to this one; None: no
            such layer.
    """
    shared = times(unit.one, weight, weight, kept, below)
    return largest(shared, times(unit.one, bias, bias), skipped)


def forward_product(unit: Unit, *, shared: Size, means: Size, x0: Size, x: Size, over: Size = _ZERO) -> Size:
    """Exponent I^l of x_0^l . x_t^l for a hidden layer.

        I^l = max( 1/2 + e(x_0) + e(x_t),  1 - 2(a_l+b_l) + I^{l-1},  1 + mean(x_0) + mean(x_t) )

    and at most 1 + e(x_0) + e(x_t). The three terms are a random sum, the part that both steps share through
    the initial matrix (or a bias), and the product of the means over the neurons.

    Args:
        unit: In which exponents are counted.
        shared: `shared_product`.
        means: Exponent of the product of the means over neurons of x_0 and x_t; None: centred.
        x0: e(x_0^l).
        x: e(x_t^l).
        over: Exponent of |h_0^l| |h_t^l|, by which normalized preactivations are divided; else 0.
    """
    product = largest(times(unit.half, x0, x), times(shared, inverse(over)), times(unit.one, means))
    return smaller(product, times(unit.one, x0, x))


def backward_product(
    unit: Unit,
    phi: Activation,
    *,
    weight: Fraction,
    kept: Size,
    above: Size,
    means: Size,
    stays: bool,
    dh0: Size,
    dh: Size,
    over: Size = _ZERO,
    skipped: Size = None,
) -> Size:
    """Exponent J^l of dh_0^l . dh_t^l for a hidden layer: as forward, from the readout down.

    With a nonlinear activation that is aligned near 0, or whose initial preactivation is still as large as
    the present one, phi'(h_t) depends on dh_0 through the update and correlates the two: aligned.

    Args:
        unit: In which exponents are counted.
        phi: The activation.
        weight: Exponent of the entries of the initial matrix of the layer above.
        kept: Exponent of the remainder of the initial matrix of the layer above; None: removed.
        above: J^{l+1}; e(df_0) + e(df_t) at the readout.
        means: Exponent of the product of the means over neurons of dh_0 and dh_t; None: centred.
        stays: Whether the initial preactivation of the layer is kept and not smaller than the present one.
        dh0: e(dh_0^l).
        dh: e(dh_t^l).
        over: Exponent of |h_0^l| |h_t^l|, by which the derivative is divided if h^l is normalized; else 0.
        skipped: J of the layer that a residual block adds this one's preactivation to; None: no such layer.
    """
    aligned = times(unit.one, dh0, dh)
    if phi.kind == "aligned" or (stays and phi.nonlinear):
        return aligned
    shared = times(unit.one, weight, weight, kept, above, inverse(over))
    return smaller(largest(times(unit.half, dh0, dh), shared, times(unit.one, means), skipped), aligned)
