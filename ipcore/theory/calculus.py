"""The exponent calculus: sizes of all vectors in a wide network, step by step, as exact exponents.

Every vector over neurons has coordinates of order m^e. The forward and backward passes and the updates
multiply and add such vectors, so exponents follow max-plus algebra. Sources of the rules: Yang & Hu
(arXiv:2011.14522) for SGD, Yang & Littwin (arXiv:2308.01814) for Adam; here they are iterated for any
exponents, so that networks whose activations vanish at initialization (Hajjar et al., arXiv:2110.15596) are
covered too. docs/theory.md derives them.

Two runs of the same rules bracket the truth where alignment is in doubt: `aligned=True` takes every inner
product with step 0 as aligned, an upper bound; `aligned=False` takes the products of
`ipcore.theory.alignment`, a lower one. Alignment that is given (`Rules.alignment`) takes the place of both.
With residual blocks a preactivation also has the term of its skip connection (`ipcore.theory.residual`), and
preactivations may be normalized before they enter an activation (`ipcore.theory.normalization`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from fractions import Fraction
from typing import Final

from ipcore.theory.alignment import backward_product, forward_product, shared_product
from ipcore.theory.initial import without_updates
from ipcore.theory.maxplus import Size, inverse, largest, nonzero, smaller, times
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.residual import skips
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.units import FRACTIONS, GivenRows, Unit, initial_entries
from ipcore.theory.updates import Updates

_ZERO: Final = Fraction(0)


_STATE: Final = ("x", "dh", "products", "dx_update", "h0", "_h", "_start", "_x0", "_dh0", "_means0", "_kept")


class Propagation:
    """The state of the calculus between steps: the sum of the updates so far.

    Use: `forward(0)`, `backward(0)`, `update(0, ...)`, `forward(1)`, ...

    Args:
        p: The parameterization; its rates are not used, they come with `update`.
        rules: Optimizer, activation, loss.
        aligned: Upper bound (True) or lower bound (False) on inner products with step 0.
        unit: Unit of exponents, of the attributes below and of `entries`. Rates that `update` takes and sizes
            that `forward` returns are in fractions whatever the unit.

    Attributes:
        initial: Exponents of the entries of the initial matrices, -(a_l + b_l), L+1 entries.
        h0: e(h_0^l) and, last, e(f_0), L+1 entries.
        x: e(x_t^l) of the last forward pass, L entries.
        dh: e(dh_t^l) of the last backward pass, L entries and, last, the loss derivative e(df_t).
        products: e(x_0^l . x_t^l) of the last forward pass, L entries; of an upper bound at step 1 only.
        dx_update: Part of dx_t^{l-1} through updates of W^l in the last backward pass, L+1 entries; the first
            is None.
    """

    def __init__(
        self, p: Parameterization, rules: Rules, *, aligned: bool = True, unit: Unit = FRACTIONS
    ) -> None:
        self.p, self.rules, self.aligned, self.unit = p, rules, aligned, unit
        self.L = p.hidden_layers
        self.skips = skips(rules.block_matrices, self.L)
        self.initial = initial_entries(unit, p.a, p.b)
        self._whole = unit.counted(p.k_at(0))
        self._added = Updates(p, rules, unit)
        self._given = None if rules.alignment is None else GivenRows.of(unit, rules.alignment)
        self.x: list[Size] = []
        self.dh: list[Size] = []
        self.products: list[Size] = []
        self.dx_update: list[Size] = []
        self._h: list[Size] = []
        # Sizes of step 0, to which later steps are compared.
        self.h0: list[Fraction] = []
        self._start: list[Size] = []  # of h_0 without biases
        self._x0: list[Size] = []
        self._dh0: list[Size] = []
        self._means0: list[Size] = []  # of dh_0 over the neurons, where weights have a mean
        # The present network without its updates: preactivations, as far as initial weights survive.
        self._kept: list[Size] = []
        self._bias0: list[Size] = [None] * (self.L + 1)
        if p.biases is not None:
            self._bias0 = list[Size](initial_entries(unit, p.biases.a, p.biases.b))

    def forward(self, step: int) -> Sizes:
        """Sizes after `step` updates."""
        if step == 0:
            return self._forward_at_initialization()
        phi, k, moves = self.rules.activation, self._weights(step), list[Size]()
        start = self._start
        kept = self._without_updates(k) if any(k) or None in k else start
        self._kept = [largest(*pair) for pair in zip(kept, self._bias0, strict=True)]
        self._h, self.x, self.products = [], [], []
        parts: list[tuple[Size, Size, Size, Size]] = []
        learned: Size = None
        removed: Size = None
        product: Size = _ZERO
        inner: list[Size] = []  # h_0 . h_t as far as it is shared
        for i in range(self.L + 1):
            weight = inverse(k[i])
            below = times(self.passed_on(i), weight, learned) if i > 0 else None
            own = self._from_update(i, product)
            removal = times(self.initial[i], weight, self.unit.half, removed) if i > 0 else None
            if weight != 0:
                removal = largest(removal, start[i], kept[i])
            if (source := self.skips[i]) is not None:
                below = largest(below, moves[source])
            moved = largest(below, own, self._added.bias[i])
            moves.append(moved)
            parts.append((below, own, self._added.bias[i], removal))
            self._h.append(largest(self._kept[i], moved))
            if i < self.L:
                x = phi.size(self.rules.seen(self._h[i]))
                learned = self._change(i, moved)
                # A matrix with a smaller weight makes h^l smaller, which normalization hides from the layers
                # above.
                removed = None if self.rules.normalized else phi.change(self.h0[i], removal)
                self.x.append(x)
                if not self.aligned or step == 1:
                    shared, product = self._product(
                        i, x, product, weight, None if source is None else inner[source]
                    )
                    # Without normalization the size of x follows that of h, which a skip connection passes
                    # on.
                    inner.append(shared if self.rules.normalized else product)
                    self.products.append(product)
        below_t, own_t, bias_t, removal_t = (tuple(column) for column in zip(*parts, strict=True))
        change = [largest(*part) for part in parts]
        seen = self.unit.exponents
        return Sizes(
            step, seen(self._h), seen(change), seen(below_t), seen(own_t), seen(bias_t), seen(removal_t),
            self.rules.normalized,
        )  # fmt: skip

    def _product(self, i: int, x: Size, below: Size, kept: Size, skipped: Size) -> tuple[Size, Size]:
        """e(h_0 . h_t) as far as it is shared, and e(x_0 . x_t)."""
        shared = shared_product(
            self.unit, weight=self.initial[i], bias=self._bias0[i], kept=kept, below=below, skipped=skipped
        )
        means, over = self._forward_means(i, self._h[i], x), self._over(i)
        product = forward_product(self.unit, shared=shared, means=means, x0=self._x0[i], x=x, over=over)
        return shared, product

    def _change(self, i: int, moved: Size) -> Size:
        """e(x_t - x_0) of a layer whose h has moved."""
        if not self.rules.normalized or moved is None:
            return self.rules.activation.change(self._kept[i], moved)
        # Of y = h / |h|: relative to the larger of h_0 and what was added.
        return self.rules.activation.change(_ZERO, moved - nonzero(self._h[i]))

    def _over(self, i: int) -> Size:
        """The exponent of |h_0| |h_t| of a hidden layer that is normalized; else 0."""
        return times(self.h0[i], self._h[i]) if self.rules.normalized else _ZERO

    def _forward_at_initialization(self) -> Sizes:
        signals = self._start = self._without_updates(self._weights(0))
        self.h0 = [nonzero(largest(*pair)) for pair in zip(signals, self._bias0, strict=True)]
        self._h = list(self.h0)
        self.x = [self.rules.activation.size(self.rules.seen(h)) for h in self.h0[: self.L]]
        self._x0 = list(self.x)
        none: tuple[Size, ...] = (None,) * (self.L + 1)
        sizes = self.unit.exponents(self.h0)
        return Sizes(0, sizes, none, none, none, none, none, self.rules.normalized)

    def passed_on(self, i: int) -> Fraction:
        """v_l: W_0^l turns a change of x^{l-1} into one of h^l that is m^{v_l} times as large (index l-1).

        The readout is correlated with the updates that it caused in the layer below: law of large numbers.
        Given alignment has its own exponent (omega).
        """
        if self._given is not None:
            return nonzero(times(self.initial[i], self._given.initial[i - 1]))
        aligned = i == self.L or self.p.mean is not None
        return self.initial[i] + (self.unit.one if aligned else self.unit.half)

    def _weights(self, step: int) -> list[Size]:
        """k_l at a step, where initial matrices count m^{-k_l}; None: removed."""
        return self.unit.counted(self.p.k_at(step)) if self.p.reweightings else self._whole

    def _without_updates(self, k: list[Size]) -> list[Size]:
        mean = self.p.mean is not None
        return without_updates(self.unit, self.rules, self.initial, self._bias0, k, self.skips, mean=mean)

    def _forward_means(self, i: int, h: Size, x: Size) -> Size:
        """The product of the means over the neurons of x_0 and x_t."""
        phi, x0 = self.rules.activation, self._x0[i]
        if self.p.mean is None or i == 0:
            seen = self.rules.seen
            return times(phi.mean_size(seen(self.h0[i])), phi.mean_size(seen(h)))
        if self.rules.cancels and i == self.L - 1:
            # Updates of the last hidden layer are centred: its mean is at most its first one, or its own.
            return times(x0, largest(smaller(x0, x), phi.mean_size(h)))
        return times(x0, x)

    def _from_update(self, i: int, product: Size) -> Size:
        added = largest(self._added.first[i], self._added.later[i])
        if i == 0:
            return added
        if self._given is not None:
            return times(added, self._given.forward[i - 1], self.x[i - 1])
        one, half = self.unit.one, self.unit.half
        if self.aligned or product == times(one, self._x0[i - 1], self.x[i - 1]):
            return times(added, one, self.x[i - 1])
        return largest(
            times(self._added.first[i], inverse(self._x0[i - 1]), product),
            times(self._added.later[i], half, self.x[i - 1]),
        )

    def backward(self, step: int) -> None:
        """Sizes of the derivatives at `step`, after `forward(step)`."""
        phi, k = self.rules.activation, self._weights(step)
        dh: list[Size] = [None] * self.L + [self.rules.loss_derivative(self._h[self.L])]
        product = times(self._dh0[self.L], dh[self.L]) if step > 0 else None
        # Over the outputs: their number does not grow, so the mean is of the order of the sum.
        mean = None if self.rules.cancels else dh[self.L]
        products: list[Size] = [*[None] * self.L, product]
        skipped = {source: i for i, source in enumerate(self.skips) if source is not None}
        means: list[Size] = [*[None] * self.L, mean]
        self.dx_update = [None] * (self.L + 1)
        for i in range(self.L, 0, -1):
            kept = inverse(k[i])
            summed = self.unit.half if i < self.L else _ZERO  # the number of outputs does not grow
            through_initial = times(self.initial[i], kept, summed, dh[i])
            through_update = self.dx_update[i] = self._back_through_update(i, dh[i], product)
            through_mean: Size = None
            slope = phi.slope(self.rules.seen(self._h[i - 1]))
            if self.rules.normalized:
                slope = times(slope, inverse(self._h[i - 1]))
            if self.p.mean is not None:
                through_mean = times(self.initial[i], kept, 2 * summed, means[i])
                # A random vector has a mean of m^{-1/2} its size.
                mean = largest(
                    times(-self.unit.half, through_initial),
                    through_mean,
                    self._mean_of(through_update, i, dh[i]),
                )
                means[i - 1] = times(mean, slope)
            dh[i - 1] = times(largest(through_initial, through_mean, through_update), slope)
            end = skipped.get(i - 1)
            if end is not None:
                dh[i - 1] = largest(dh[i - 1], dh[end])
            if self.p.mean is not None and self.aligned and step > 0:
                # Upper bound: phi'(h_t) may be correlated with dx_t, through the updates in h_t.
                correlated = times(dh[i - 1], phi.slope_variation(self._h[i - 1]))
                means[i - 1] = largest(means[i - 1], correlated)
            if step > 0 and not self.aligned:
                stays = self.h0[i - 1] == self._kept[i - 1] == self._h[i - 1]
                product = backward_product(
                    self.unit, phi, weight=self.initial[i], kept=kept, above=product, stays=stays,
                    means=times(self._means0[i - 1], means[i - 1]), dh0=self._dh0[i - 1], dh=dh[i - 1],
                    over=self._over(i - 1), skipped=None if end is None else products[end],
                )  # fmt: skip
                products[i - 1] = product
        self.dh = dh
        if step == 0:
            self._dh0, self._means0 = list(dh), means

    def _mean_of(self, through_update: Size, i: int, dh: Size) -> Size:
        """The mean over neurons of the part of dx by the updates, along x_s, where weights have a mean."""
        if self.aligned or i < self.L or self.rules.activation.kind != "linear" or not self.rules.cancels:
            return through_update
        # x_0 has a mean of its own size; later updates of the last hidden layer may be centred.
        return largest(times(self._added.first[i], dh), times(-self.unit.half, self._added.later[i], dh))

    def _back_through_update(self, i: int, dh: Size, product: Size) -> Size:
        added = largest(self._added.first[i], self._added.later[i])
        if i == self.L or added is None:
            return times(added, dh)
        if self._given is not None:
            return times(added, self._given.backward[i - 1], dh)
        one, half = self.unit.one, self.unit.half
        if self.aligned or product == times(one, self._dh0[i], dh):
            return times(added, one, dh)
        return largest(
            times(self._added.first[i], inverse(self._dh0[i]), product), times(self._added.later[i], half, dh)
        )

    def gradient(self, i: int) -> Size:
        """e(dh_t^l) + e(x_t^{l-1}): the gradient of W^l (not yet of w^l) after `backward`."""
        return times(self.dh[i], self.x[i - 1]) if i > 0 else self.dh[0]

    def largest_gradient(self, i: int) -> Size:
        """The gradient that the next update of layer l uses: with momentum the largest so far."""
        if not self.rules.accumulates:
            return self.gradient(i)
        return largest(self.gradient(i), self._added.kept_gradient(i))

    def update(
        self,
        step: int,
        phase: RatePhase,
        bias_phase: RatePhase | None = None,
        *,
        faster: Sequence[Fraction] | None = None,
    ) -> None:
        """Add the update of `step`, after `backward(step)`, with the exponents of `phase`.

        With `faster` the rates of layer l, and of its bias, are m^{faster_l} times as large.
        """
        gradients = [self.gradient(i) for i in range(self.L + 1)]
        self._added.add(step, gradients, self.dh, phase, bias_phase, faster)

    def entries(self) -> tuple[Size, ...]:
        """Sum of the updates in the entries of W^l, L+1 exponents; None: no update yet."""
        return self._added.entries()

    @property
    def signs(self) -> bool:
        """Whether some update so far was a sign, or orthogonalized: not a linear function of the gradient."""
        return self._added.signs

    def in_fractions(self) -> Propagation:
        """The same state in fractions, for exponents that are not multiples of the unit."""
        if self.unit is FRACTIONS:
            return self
        other = Propagation(self.p, self.rules, aligned=self.aligned)
        for name in _STATE:
            setattr(other, name, list(self.unit.exponents(getattr(self, name))))
        other._added.take([self.unit.exponents(column) for column in self._added.columns()])
        other._added.signs = self.signs
        return other

    def with_entries(self, entries: Sequence[Size], step: int) -> Sizes:
        """Sizes at `step` >= 1 if updates had added these entries; this run stays as it is."""
        other = copy(self)
        other._added = self._added.replaced(entries)
        return other.forward(max(step, 1))

    def state(self) -> tuple[tuple[Size, ...], ...]:
        """The values that determine later steps, to see when exponents repeat."""
        return tuple(map(tuple, (self._h, self.dh, *self._added.columns())))
