"""A matrix of i.i.d. standard normals of which only the needed directions are drawn.

Training only needs products G x and G^T u of a Gaussian matrix G. Given orthonormal directions U with answers
G U = H and V with answers G^T V = Z, the rest of G is an independent Gaussian matrix between the orthogonal
complements. So a new product is its known part plus fresh normals in the new directions: exact in law, at any
width, without the m^2 entries. After m directions all of G is known, and nothing more is drawn.

A product with n vectors draws n normals for every output, whatever the rank of the new part. Its result is
the symmetric root of the new part's inner products times these: which orthonormal directions a device's
factorizations choose does not matter, and numbers agree between devices up to rounding.

Vectors are rows here: U holds directions (k, m), H their answers (k, m).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

# A direction is new if more than this part of a vector's length lies in it.
_NEW: Final = {torch.float64: 1e-12, torch.float32: 1e-6}
# New directions of which every vector has more than this need no second orthogonalization.
_CLEAR: Final = 1e-2


class _Side:
    """Orthonormal directions (rows) and their products with the matrix or its transpose."""

    def __init__(
        self, inputs: int, outputs: int, most: int, dtype: torch.dtype, device: str | torch.device
    ) -> None:
        # Memory is taken by the first question (on the CPU, page by page).
        self._directions = torch.empty((0, inputs), dtype=dtype, device=device)
        self._answers = torch.empty((0, outputs), dtype=dtype, device=device)
        self.most, self.count = most, 0

    @property
    def directions(self) -> Tensor:
        return self._directions[: self.count]

    @property
    def answers(self) -> Tensor:
        return self._answers[: self.count]

    def append(self, directions: Tensor, answers: Tensor) -> None:
        k, n = self.count, len(directions)
        if not n:
            return
        if not len(self._directions):
            self._directions = self._directions.new_empty((self.most, self._directions.shape[1]))
            self._answers = self._answers.new_empty((self.most, self._answers.shape[1]))
        self._directions[k : k + n].copy_(directions)
        self._answers[k : k + n].copy_(answers)
        self.count = k + n

    def keep(self, outputs: Tensor) -> None:
        """Forget the answers of all other outputs; `outputs` is boolean."""
        answers = self.answers[:, outputs]
        self._answers = answers.new_empty((len(self._answers), answers.shape[1]))
        self._answers[: self.count].copy_(answers)

    def load(self, directions: Tensor, answers: Tensor) -> None:
        """Start anew with these, which may have another number of outputs."""
        self._answers = self._answers.new_empty((len(self._answers), answers.shape[1]))
        self.count = 0
        self.append(directions, answers)


class DeferredMatrix:
    """G of i.i.d. N(0, 1) entries, revealed by questions.

    Args:
        outputs: Rows of G.
        inputs: Columns of G.
        forward_questions: Largest number of vectors x whose G x is remembered.
        backward_questions: Largest number of vectors u whose G^T u is remembered.
        dtype: Number format of directions and answers.
        device: Device of both.
    """

    def __init__(
        self,
        outputs: int,
        inputs: int,
        forward_questions: int,
        backward_questions: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self._right = _Side(inputs, outputs, min(inputs, forward_questions), dtype, device)
        self._left = _Side(outputs, inputs, min(outputs, backward_questions), dtype, device)

    def forward(self, x: Tensor, normals: np.random.Generator, *, remember: bool = True) -> Tensor:
        """G x of every row of x, (n, inputs) -> (n, outputs).

        Args:
            x: Rows; they may depend on everything asked so far.
            normals: Source of the new normals.
            remember: Whether later answers must be consistent with this one. (The rows of one question
                always are with each other, and with what is remembered.)
        """
        return _ask(self._right, self._left, x, normals, remember)

    def backward(self, u: Tensor, normals: np.random.Generator) -> Tensor:
        """G^T u of every row of u, (n, outputs) -> (n, inputs); remembered."""
        return _ask(self._left, self._right, u, normals, remember=True)

    def learn(self, x: Tensor, answers: Tensor) -> None:
        """Take over answers G x that were drawn elsewhere, before anything is asked.

        Directions in which the rows of x hardly differ are left out: the answers do not determine them.

        Args:
            x: (n, inputs).
            answers: (n, outputs).
        """
        basis, triangle = torch.linalg.qr(x.T)
        vectors, sizes, turned = _svd(triangle)
        sure = sizes > sizes[0] * _NEW[x.dtype] ** 0.5
        directions = (basis @ vectors[:, sure]).T.contiguous()
        self._right.append(directions, (turned[sure] @ answers) / sizes[sure, None])

    def keep_outputs(self, outputs: Tensor) -> None:
        """Let G have only these rows from now on; boolean. There must be no backward answers."""
        self._right.keep(outputs)

    def complete(self, normals: np.random.Generator) -> Tensor:
        """All of G, (outputs, inputs), given what has been answered: for tests at small sizes."""
        known = self._right.directions
        everything = torch.eye(known.shape[1], dtype=known.dtype, device=known.device)
        return self.forward(everything, normals, remember=False).T

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint; the leading sizes grow."""
        sides = {"": self._right, "left_": self._left}
        tensors = dict[str, Tensor]()
        for prefix, side in sides.items():
            if side.most:
                tensors |= {f"{prefix}directions": side.directions, f"{prefix}answers": side.answers}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        for side, prefix in ((self._right, ""), (self._left, "left_")):
            if not side.most:
                continue
            side.load(tensors[f"{prefix}directions"], tensors[f"{prefix}answers"])


def _ask(side: _Side, other: _Side, x: Tensor, normals: np.random.Generator, remember: bool) -> Tensor:
    known = side.directions
    along = x @ known.T
    rest = x - along @ known
    again = rest @ known.T
    along += again
    rest -= again @ known
    if not bool(rest.isfinite().all()):  # the run diverges: it has no directions, and its loss becomes NaN
        return x.new_full((len(x), side.answers.shape[1]), torch.nan)
    answer = along @ side.answers
    fresh, shares = _new_directions(rest, x, known)
    if not len(fresh):
        return answer
    drawn = torch.from_numpy(normals.standard_normal((len(x), side.answers.shape[1])))
    z = shares @ drawn.to(x.dtype).to(x.device)
    # The transpose's answers V determine the component of G q along every v: (G^T v) . q.
    if other.count:
        z -= (z @ other.directions.T - fresh @ other.answers.T) @ other.directions
    answer += (x @ fresh.T) @ z
    if remember:
        side.append(fresh, z)
    return answer


def _new_directions(rest: Tensor, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The new directions in `rest`: k orthonormal rows that span it, orthogonal to the rows of `known`.

    Returns:
        The directions (k, m), and the part that each vector has in each of them: the singular vectors on the
        side of the n vectors, (k, n) with orthonormal rows.
    """
    length = torch.linalg.vector_norm(x, dim=1)
    scaled = rest / torch.where(length > 0, length, 1.0)[:, None]
    most = known.shape[1] - len(known)
    # The singular vectors come from the small triangle alone: rest is (n, m) with m far above n.
    basis, triangle = torch.linalg.qr(scaled.T)
    vectors, sizes, turned = _svd(triangle)
    found = sizes > _NEW[x.dtype]
    new: Tensor = (basis @ vectors[:, found]).T[:most]
    shares = turned[found][:most]
    # Remainders of known directions in `rest`, from rounding, are divided by the sizes.
    if not len(new) or float(sizes[found][-1]) > _CLEAR:
        return new.contiguous(), shares
    new = new - (new @ known.T) @ known
    # A factorization that turns a direction around must not: its normals belong to it as it is.
    orthonormal, triangle = torch.linalg.qr(new.T)
    return (orthonormal * triangle.diagonal().sign()).T.contiguous(), shares


def _svd(triangle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin singular value decomposition of a small matrix: on the CPU, where it takes the least time."""
    u, sizes, v = torch.linalg.svd(triangle.cpu(), full_matrices=False)
    return u.to(triangle.device), sizes.to(triangle.device), v.to(triangle.device)
