"""Changes of a layer by one update of its own matrix or bias alone, from the weights at step 0.

A change after several updates is a sum over updates and layers, in which a larger term hides a smaller one.
An isolated update is one term, so nothing hides. For update t, which leads to state t:

    isolated_change/l       mean_{i,j} |Delta W^l x_0^{l-1}(xi_i)|     by the layer's matrix
    isolated_bias_change/l  mean_j |Delta b^l|                         by its bias, if it has one

where Delta is the first update that the run's optimizer makes from the gradients at the weights of step 0, on
the batch of update t, at the rate of update t (its phase, schedule and calibration), without weight decay.
Moments and velocities start at zero. Where a residual block ends, h^l changes by beta times that. Not
defined, and left out, at step 0 and for a bias that a run does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcore.models.tally import tally
from ipcore.probes.definition import Definition, Quantity, Sizes, Tap

if TYPE_CHECKING:
    from torch import Tensor

    from ipcore.probes.taps import Layer


def _change(layer: Layer) -> Tensor:
    if (update := layer.isolated) is None:
        return layer.undefined()
    return layer.mean_size(update.below.bmm(update.matrix.mT))


def _bias_change(layer: Layer) -> Tensor:
    if (update := layer.isolated) is None or update.bias is None:
        return layer.undefined()
    return layer.mean_size(update.bias)


def _room(sizes: Sizes) -> int:
    """An engine, derivatives of its batch, and a layer's values with their copies."""
    derivatives = sizes.batch * sum(sizes.architecture.outputs)
    values = sizes.examples * tally(sizes.architecture).values
    return sizes.engine + sizes.itemsize * (derivatives + values) + (sizes.itemsize + 16) * sizes.widest


def _work(sizes: Sizes) -> float:
    """A forward pass on the examples, an update, and the updates applied to the examples."""
    return float((2 * sizes.examples + 3 * sizes.batch) * sizes.entries)


ISOLATED: Final = Definition(
    (
        Quantity(
            "isolated_change",
            "mean |Delta W^l x_0^{l-1}|, one update of the matrix alone",
            _change,
            (Tap.ISOLATED,),
        ),
        Quantity(
            "isolated_bias_change",
            "mean |Delta b^l|, one update of the bias alone",
            _bias_change,
            (Tap.ISOLATED,),
        ),
    ),
    _room,
    _work,
)
