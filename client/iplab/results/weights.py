"""Weights of a run as numpy arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors_numpy


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Content of a weight file.

    Attributes:
        arrays: By name, one per layer: w (not W = m^{-a} w) and biases.
        metadata: Exponents, base learning rate, seed, step, dtype, as written by the trainer.
    """

    arrays: dict[str, npt.NDArray[np.generic]]
    metadata: dict[str, str]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in self.arrays.items())
        return f"<Weights: {shapes}>"

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        rows = [(name, list(array.shape), array.dtype) for name, array in self.arrays.items()]
        header = html.table_html((), sorted(self.metadata.items())) if self.metadata else ""
        return html.titled(
            "Weights",
            html.table_html(("name", "shape", "dtype"), rows),
            html.folded("metadata: exponents, rate, seed, step, checksums", header),
        )


def parse_weights(data: bytes) -> Weights:
    """Parse a safetensors file (numbers and JSON, no code)."""
    arrays = safetensors_numpy.load(data)
    # The format: header length as 8 little-endian bytes, then the header in JSON, then the numbers.
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return Weights(dict(sorted(arrays.items())), metadata)
