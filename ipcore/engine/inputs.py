"""The training inputs of a pack on its device, from which batches are gathered."""

from __future__ import annotations

import torch
from torch import Tensor

from ipcore.data import Split


class Inputs:
    """n inputs of d numbers.

    On a GPU images stay bytes, which take a quarter of the memory and bandwidth, and are normalized when they
    are gathered: scale * byte + shift. On the CPU the dataset's normalized numbers are used.

    Args:
        values: (n, d): normalized numbers, or bytes.
        scale: With bytes: (d,), in the number format of `at`.
        shift: With bytes: (d,).
    """

    def __init__(self, values: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> None:
        self._values, self._scale, self._shift = values, scale, shift

    def __len__(self) -> int:
        return len(self._values)

    def gather(self, indices: Tensor, out: Tensor) -> None:
        """Write the inputs of indices (k,) into out (k, d), of any number format."""
        if self._scale is None or self._shift is None:
            if self._values.dtype == out.dtype:
                torch.index_select(self._values, 0, indices, out=out)
            else:
                out.copy_(torch.index_select(self._values, 0, indices))
            return
        torch.addcmul(self._shift, torch.index_select(self._values, 0, indices), self._scale, out=out)

    def at(self, indices: Tensor) -> Tensor:
        """Inputs of indices (k,), (k, d) in full precision."""
        found = self._values[indices]
        if self._scale is None or self._shift is None:
            return found
        return torch.addcmul(self._shift, found, self._scale)

    def tensors(self) -> list[Tensor]:
        """Its tensors on the device."""
        return [tensor for tensor in (self._values, self._scale, self._shift) if tensor is not None]


def training_inputs(split: Split, dtype: torch.dtype, device: torch.device) -> Inputs:
    """The inputs of a training set on a device."""
    if split.pixels is None or device.type == "cpu":
        return Inputs(torch.from_numpy(split.inputs).to(device, dtype))
    pixels = split.pixels
    scale, shift = (torch.from_numpy(row).to(device, dtype) for row in (pixels.scale, pixels.shift))
    return Inputs(torch.from_numpy(pixels.values).to(device), scale, shift)
