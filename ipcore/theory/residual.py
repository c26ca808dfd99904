"""Residual blocks: sums in the calculus, and the effect of the depth.

A residual perceptron with k matrices per block (numbered in their order, W^1 the input layer, W^n the
readout):

    h^{l+k} = h^l + beta W^{l+k} phi(.. phi(h^l)),    l = 1, 1+k, 1+2k, ..

A sum has the larger of two sizes. With V_j the factor by which matrix j multiplies sizes
(`ipcore.theory.factors`) and B the sum of the V_j of a block, activations of degree 1,

    e(h^{l+k}) = e(h^l) + max(0, B),   and backward alike
    e(grad W^j) = S - max(0, B) + B - V_j,   S = V_1 + V_n + the sum of max(0, B) over blocks + e(df)

[ours]: the gradient is the product of what enters the block, the other matrices of its branch, and the
derivative by what leaves it. So the start is stable only if B <= 0 in every block. `ipcore.theory.calculus`
applies the sum itself, layer by layer, so updates and other activations are covered too; the tests hold it
to these formulas.

**Depth.** With N blocks and beta = N^{-alpha}, at fixed width (published: Depth-muP, alpha = 1/2,
arXiv:2310.02244; CompleteP, alpha = 1, arXiv:2505.01618):

    the start stays bounded iff alpha >= 1/2         N independent branches add like N^{1/2 - alpha}
    a step at rate eta changes h by eta N^{1 - 2 alpha} (gradient descent), eta N^{1 - alpha} (signs)
    so base rates must go like N^{2 alpha - 1}, N^{alpha - 1}; updates inside a block then change h there by
    N^{alpha - 1} (beside what the block's input has learned)

How loss and best rate depend on the depth is not decided: measure. With normalized preactivations what a
block adds does not depend on the size of h, and for alpha >= 1/2, where that is of order 1, the powers are
the same (CompleteP's networks are normalized so). For smaller alpha h grows with the depth, blocks do not see
it, and their gradients fall: measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore import catalogue
from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.exponents import as_exponent, power
from ipcore.theory.names import check_name
from ipcore.theory.rules import rule_of

_ZERO: Final = Fraction(0)
_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
MAX_BLOCK_MATRICES: Final = 2
_PUBLISHED: Final = {
    _HALF: "Depth-muP, arXiv:2310.02244",
    _ONE: "CompleteP, arXiv:2505.01618",
}


def check_blocks(block_matrices: int, hidden_layers: int) -> None:
    """Refuse depths that do not make whole residual blocks.

    Args:
        block_matrices: Matrices per block; 0: no blocks.
        hidden_layers: One less than the number of weight matrices.

    Raises:
        TheoryError: Another number than 0, 1, 2, or matrices that do not make whole blocks.
    """
    whole = isinstance(block_matrices, int) and not isinstance(block_matrices, bool)
    if not whole or block_matrices not in range(MAX_BLOCK_MATRICES + 1):
        raise TheoryError(
            f"must be 0 (no residual blocks), 1 or 2, not {shown(block_matrices)}", "block_matrices"
        )
    inside = hidden_layers - 1
    if block_matrices and (inside < block_matrices or inside % block_matrices):
        raise TheoryError(
            f"{hidden_layers + 1} weight matrices do not make blocks of {block_matrices} between the input "
            f"layer and the readout: give {block_matrices} for every block and 2 more",
            "block_matrices",
        )


def skips(block_matrices: int, hidden_layers: int) -> tuple[int | None, ...]:
    """For each layer 0..L the one whose preactivation its block adds to its own; None: no block ends there.

    >>> skips(2, 5), skips(0, 2)
    ((None, None, 0, None, 2, None), (None, None, None))
    """
    k, n = block_matrices, hidden_layers + 1
    if not k:
        return (None,) * n
    return tuple(i - k if 0 < i < n - 1 and i % k == 0 else None for i in range(n))


@dataclass(frozen=True, slots=True)
class DepthExponents:
    """Powers of the number N of residual blocks, with branches multiplied by N^{-alpha}.

    Attributes:
        alpha: Exponent of the branch multiplier.
        start: Exponent of the sizes at the start; 0: bounded.
        change: Exponent of a coherent change of h per unit of the base rate.
        rate: Exponent of the base rate at which h changes by order 1.
        in_block: Exponent of the change inside a block by its own matrix, at that rate; below 0 blocks learn
            less and less of their own ("lazy").
        published: Paper that proposes this alpha; "": none, so measure.
        normalized: Whether preactivations are normalized; if so and `start` > 0, only `start` holds.
    """

    alpha: Fraction
    start: Fraction
    change: Fraction
    rate: Fraction
    in_block: Fraction
    published: str
    normalized: bool = False

    @property
    def summary(self) -> str:
        """One sentence."""
        if self.start > 0 and self.normalized:
            return (
                f"with N blocks: sizes at the start grow like {power(self.start, 'N')}, which normalization "
                "hides from the blocks: measure"
            )
        if self.start > 0:
            return (
                f"with N blocks: sizes at the start grow like {power(self.start, 'N')}; multiply branches by "
                "N^(-1/2) or less"
            )
        inside = f"by {power(self.in_block, 'N')}" if self.in_block < 0 else "by order 1 too"
        text = (
            f"with N blocks: the start stays bounded; at base rates of order {power(self.rate, 'N')} h "
            f"changes by order 1, inside a block updates change it {inside}"
        )
        return f"{text} ({self.published or 'no published rule for this multiplier: measure'})"


def depth_exponents(
    alpha: str | Fraction | int, optimizer: str = "sgd", *, normalization: str = "none"
) -> DepthExponents:
    """Effect of a branch multiplier N^{-alpha} as the number of blocks grows, at fixed width.

    Args:
        alpha: At least 0.
        optimizer: Key of `OPTIMIZERS`; Adam as signs.
        normalization: Normalization of preactivations, a name in `ipcore.catalogue.NORMALIZATIONS`.

    Raises:
        TheoryError: Unknown optimizer or normalization, or an alpha that is negative or not exact.

    >>> found = depth_exponents("1/2", "adam")
    >>> str(found.rate), str(found.in_block), found.published
    ('-1/2', '-1/2', 'Depth-muP, arXiv:2310.02244')
    """
    check_name(normalization, catalogue.NORMALIZATIONS, "normalization")
    exponent = as_exponent(alpha, "alpha")
    if exponent < 0:
        raise TheoryError(f"must be at least 0, not {shown(str(exponent))}: branches would grow", "alpha")
    signs = catalogue.KNOWN_OPTIMIZERS[rule_of(optimizer)].entrywise
    change = 1 - exponent if signs else 1 - 2 * exponent
    return DepthExponents(
        alpha=exponent,
        start=max(_ZERO, _HALF - exponent),
        change=change,
        rate=-change,
        in_block=exponent - 1,
        published=_PUBLISHED.get(exponent, ""),
        normalized=normalization != "none",
    )
