"""Gaussian inputs with a teacher: single-index, multi-index, parity.

Inputs are x ~ N(0, I_d). Real-valued targets are y = (g(u_1.x) + ... + g(u_k.x)) / sqrt(k) with orthonormal
directions u_i drawn uniformly (k = 1: single-index); with labels=sign the class is 1 where y > 0. Parity has
class 1 where the product of k coordinates, drawn without replacement, is positive. Links g: identity, relu,
abs, tanh, sine, and the Hermite polynomials He_j / sqrt(j!), whose variance under x is 1.

Training targets carry normal noise (before the sign is taken), or flipped labels with parity; test targets
do not. Numbers are keyed by what they are for: the same seed and d give the same inputs to every teacher,
and the first rows of a larger training set are the smaller one. Sums are taken in a fixed order, element by
element, so that they do not depend on the machine's BLAS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue.families import LINKS, Member
from ipcore.data.dataset import Dataset, Split
from ipcore.randomness import generator

Floats = npt.NDArray[np.float64]
# Numbers drawn at a time in double precision, before they are rounded.
_CHUNK = 1 << 21

FORMULAS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "identity": lambda z: z,
    "hermite-2": lambda z: (z * z - 1) / math.sqrt(2),
    "hermite-3": lambda z: (z * z - 3) * z / math.sqrt(6),
    "hermite-4": lambda z: ((z * z - 6) * (z * z) + 3) / math.sqrt(24),
    "relu": lambda z: np.maximum(z, 0),
    "abs": np.abs,
    "tanh": np.tanh,
    "sine": np.sin,
}
if set(FORMULAS) != set(LINKS):
    raise RuntimeError("ipcore.catalogue.families and ipcore.data.teachers name different links")


def load(member: Member) -> Dataset:
    """Draw a dataset of the families "single-index", "multi-index" and "parity"."""
    teacher = _parity if member.family.name == "parity" else _index
    train, test = (teacher(member, part) for part in ("train", "test"))
    return Dataset(member.name, train, test, member.classes)


def directions(seed: int, d: int, k: int) -> Floats:
    """Orthonormal vectors, uniformly distributed, in the columns of an array (d, k); 1 <= k <= d.

    Gram-Schmidt, twice, on standard normals.
    """
    basis: list[Floats] = []
    for vector in generator(seed, "directions", d).standard_normal((k, d)):
        rest = vector
        for _ in range(2):
            for unit in basis:
                rest = rest - math.fsum(rest * unit) * unit
        basis.append(rest / math.sqrt(math.fsum(rest * rest)))
    return np.stack(basis, axis=1)


def coordinates(seed: int, d: int, k: int) -> npt.NDArray[np.int64]:
    """The k coordinates of a parity, in rising order."""
    return np.sort(generator(seed, "coordinates", d, k).permutation(d)[:k])


def _index(member: Member, part: str) -> Split:
    seed, d = member.integer("seed"), member.input_dim
    k = member.integer("k") if "k" in member.values else 1
    link, units = FORMULAS[str(member.values["link"])], directions(seed, d, k)

    def teach(x: Floats) -> Floats:
        total = np.zeros(len(x))
        columns = np.ascontiguousarray(x.T)
        for unit in units.T:
            z = np.zeros(len(x))
            for column, weight in zip(columns, unit, strict=True):
                z += weight * column
            total += link(z)
        return total / math.sqrt(k)

    inputs, y = _inputs_and_targets(member, part, teach)
    if part == "train" and (noise := member.number("noise")):
        y += noise * generator(seed, "gaussian", d, part, "noise").standard_normal(len(y))
    if member.classes:
        return Split(inputs, (y > 0).astype(np.int64))
    return Split(inputs, y[:, None].astype(np.float32))


def _parity(member: Member, part: str) -> Split:
    seed, d = member.integer("seed"), member.input_dim
    chosen = coordinates(seed, d, member.integer("k"))
    inputs, y = _inputs_and_targets(member, part, lambda x: np.prod(np.sign(x[:, chosen]), axis=1))
    labels = (y > 0).astype(np.int64)
    if part == "train" and (flip := member.number("flip")):
        labels ^= generator(seed, "gaussian", d, part, "flip").random(len(y)) < flip
    return Split(inputs, labels)


def _inputs_and_targets(
    member: Member, part: str, teach: Callable[[Floats], Floats]
) -> tuple[npt.NDArray[np.float32], Floats]:
    """Inputs (n, d) and the teacher's targets (n,) for the inputs as they are stored, rounded."""
    n, d = member.integer("n" if part == "train" else "test"), member.input_dim
    stream = generator(member.integer("seed"), "gaussian", d, part, "inputs")
    inputs, y = np.empty((n, d), dtype=np.float32), np.empty(n)
    rows = max(1, _CHUNK // d)
    for start in range(0, n, rows):
        end = min(n, start + rows)
        inputs[start:end] = stream.standard_normal((end - start, d))
        y[start:end] = teach(inputs[start:end].astype(np.float64))
    return inputs, y
