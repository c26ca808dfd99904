"""Kernels of infinitely wide perceptrons: the Gaussian process at the start, and the tangent kernel.

    S^1 = s^2 (x . x' / (d+1) + 1),   T^1 = x . x' + 1
    S^{l+1} = s_{l+1}^2 E[phi(a) phi(b)],   T^{l+1} = E[phi(a) phi(b)] + s_{l+1}^2 E[phi'(a) phi'(b)] T^l

with (a, b) ~ N(0, S^l), s_{l+1} = s for hidden layers and 1 for the readout (Neal, 1996; Jacot et al.,
arXiv:1806.07572; Lee et al., arXiv:1711.00165). The constants are those of `ipcore.models.scales`: s_1 is an
initial size and no multiplier, so that T^1 has no 1/(d+1). A layer that does not learn adds nothing to T.
Without a bias the 1s are left out, and S^1 has 1/d.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ipcore.catalogue import find_activation
from ipcore.limits.dual_activations import Dual, diagonal, dual


class Kernels:
    """Both kernels of a network.

    Args:
        hidden_layers: L.
        activation: Name.
        input_dim: d.
        biased: Whether the first layer has a bias.
        learns: Whether each layer 1..L+1 learns.
    """

    def __init__(
        self, hidden_layers: int, activation: str, input_dim: int, *, biased: bool, learns: Sequence[bool]
    ) -> None:
        self._activation, self._dual = activation, dual(activation)
        self._variance = find_activation(activation).variance
        self._biased, self._fan_in = float(biased), input_dim + biased
        self._scales = [self._variance] * (hidden_layers - 1) + [1.0]
        self._learns = tuple(learns)

    def marginals(self, x: Tensor) -> list[Tensor]:
        """Quantities of single inputs (n, d) that the kernels need, for each layer 1..L: (n, K)."""
        p = self._first(x.double().square().sum(dim=1))
        found = [self._dual.marginals(p)]
        for scale in self._scales[:-1]:
            p = scale * diagonal(self._activation, p).values
            found.append(self._dual.marginals(p))
        return found

    def at(
        self, x: Tensor, y: Tensor, p: Sequence[Tensor] | None = None, q: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """S^{L+1} and T^{L+1} between inputs (n, d) and (k, d), double precision.

        Args:
            x: (n, d).
            y: (k, d).
            p: `marginals` of x, if they are known.
            q: `marginals` of y.
        """
        p = self.marginals(x) if p is None else p
        q = self.marginals(y) if q is None else q
        products = x.double() @ y.double().T
        S = self._first(products)
        T = (products + self._biased) * self._learns[0]
        for layer, scale in enumerate(self._scales):
            found: Dual = self._dual(p[layer], q[layer], S)
            S = scale * found.values
            T = found.values * self._learns[layer + 1] + scale * found.slopes * T
        return S, T

    def _first(self, products: Tensor) -> Tensor:
        return self._variance * (products / self._fan_in + self._biased)
