"""The precision of the matmuls of an update: single precision unless the spec asks for less.

    fp32   single precision throughout
    tf32   CUDA: inputs of matmuls are rounded to 10 bits of mantissa, sums are single precision
    bf16   activations and derivatives are bfloat16 (7 bits of mantissa), and so is a copy of the weights that
           matmuls read; weights, updates, the loss and the optimizer are single precision

The range of all three is that of single precision: tf32 and bf16 have its exponents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_dtype(precision: str, dtype: torch.dtype) -> torch.dtype:
    """Number format of activations and derivatives, where weights have `dtype`."""
    return torch.bfloat16 if precision == "bf16" else dtype


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Within a block, let CUDA round the inputs of single-precision matmuls only if the precision is tf32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
