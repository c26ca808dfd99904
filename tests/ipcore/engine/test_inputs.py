"""Inputs on a device, as numbers or as bytes, equal the dataset's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipcore.data import Split
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.engine.inputs import Inputs, training_inputs

CPU = torch.device("cpu")


@pytest.fixture
def images() -> Split:
    """Seven images with two channels of three pixels, including the extreme values."""
    values = np.random.default_rng(0).integers(0, 256, (7, 6), dtype=np.uint8)
    values[0], values[1] = 0, 255
    constants = ((0.25, 0.5), (0.4, 0.2))
    inputs = np.concatenate(
        [scale_pixels(values[:, :3], constants[0]), scale_pixels(values[:, 3:], constants[1])], 1
    )
    return Split(inputs, np.zeros(7, dtype=np.int64), as_pixels(values, constants))


def as_bytes(split: Split, dtype: torch.dtype) -> Inputs:
    """The inputs for a GPU, here on the CPU."""
    pixels = split.pixels
    assert pixels is not None
    scale, shift = (torch.from_numpy(row).to(dtype) for row in (pixels.scale, pixels.shift))
    return Inputs(torch.from_numpy(pixels.values), scale, shift)


def test_bytes_are_the_same_inputs_to_rounding(images: Split):
    indices = torch.tensor([1, 0, 6, 6], dtype=torch.int32)
    out = torch.empty(4, 6)
    as_bytes(images, torch.float32).gather(indices, out)

    expected = torch.from_numpy(images.inputs[[1, 0, 6, 6]])
    assert torch.allclose(out, expected, rtol=3e-7, atol=3e-7)
    assert torch.equal(as_bytes(images, torch.float32).at(indices), out)
    # (255 / 255 - 0.25) / 0.5 and (0 - 0.4) / 0.2, by hand
    assert out[0, 0].item() == pytest.approx(1.5)
    assert out[1, 5].item() == pytest.approx(-2.0)


@pytest.mark.parametrize(
    "made", [lambda s: training_inputs(s, torch.float32, CPU), lambda s: as_bytes(s, torch.float32)]
)
def test_they_can_be_gathered_in_less_than_single_precision(images: Split, made):
    out = torch.empty(2, 6, dtype=torch.bfloat16)
    made(images).gather(torch.tensor([3, 1], dtype=torch.int32), out)

    assert torch.allclose(out.float(), torch.from_numpy(images.inputs[[3, 1]]), rtol=2**-7)


def test_the_cpu_uses_the_numbers_of_the_dataset_without_a_copy(images: Split):
    (values,) = training_inputs(images, torch.float32, CPU).tensors()

    assert values.data_ptr() == images.inputs.ctypes.data
    assert len(training_inputs(images, torch.float32, CPU)) == 7


def test_a_part_of_a_split_keeps_its_bytes(images: Split):
    part = images.part(np.array([5, 2]))

    assert part.pixels is not None and images.pixels is not None
    assert np.array_equal(part.pixels.values, images.pixels.values[[5, 2]])
    assert np.array_equal(part.inputs, images.inputs[[5, 2]])
