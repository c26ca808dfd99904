"""Sizes of the coordinates of h and x, and of their changes: the measurements of a coordinate check.

Mean absolute values over examples and neurons (Yang & Hu, arXiv:2011.14522, section on the dynamical
dichotomy, and the authors' code of arXiv:2110.15596 measure exponents of width on them):

    h/l = mean_{i,j} |h_t^l(xi_i)_j|,        h_change/l = mean_{i,j} |h_t^l(xi_i)_j - h_0^l(xi_i)_j|

and x/l, x_change/l likewise for x^l = phi(h^l). At step 0 the changes are 0.
"""

from __future__ import annotations

from typing import Final

from ipcore.probes.definition import Definition, Quantity, Tap

COORDINATES: Final = Definition(
    (
        Quantity("h", "mean |h_t^l|", lambda layer: layer.mean_size(layer.h)),
        Quantity("x", "mean |x_t^l|", lambda layer: layer.mean_size(layer.x), readout=False),
        Quantity(
            "h_change",
            "mean |h_t^l - h_0^l|",
            lambda layer: layer.mean_size(layer.h - layer.h_0),
            (Tap.INITIAL_VALUES,),
        ),
        Quantity(
            "x_change",
            "mean |x_t^l - x_0^l|",
            lambda layer: layer.mean_size(layer.x - layer.x_0),
            (Tap.INITIAL_VALUES,),
            readout=False,
        ),
    )
)
