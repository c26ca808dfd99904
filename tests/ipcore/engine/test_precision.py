"""Lower precision is used only if requested, and is close to single precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.precision import matmul_precision
from ipcore.errors import ConfigError
from ipcore.planning.memory import run_memory
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

CONFIG = PackConfig("digits", 3, 64, "tanh", batch_size=64, steps=60)


def trained(digits: Dataset, config: PackConfig, runs) -> dict[tuple[int, str], float]:
    part = Trainer(config, runs, digits).advance()
    return {(run, name): value for run, name, step, value in part.points.rows() if step == config.steps}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_bfloat16_trains_much_as_single_precision_does(digits: Dataset, optimizer: str, activation: str):
    rate = {"sgd": 0.1, "momentum": 0.02}.get(optimizer, 0.01)
    runs = [RunConfig(preset("mup", 3, optimizer=optimizer), rate, seed) for seed in (0, 1)]
    config = replace(CONFIG, optimizer=optimizer, activation=activation)
    full, less = (trained(digits, replace(config, precision=p), runs) for p in ("fp32", "bf16"))

    for seed in (0, 1):
        assert full[seed, "test_loss"] < 2.0
        assert less[seed, "test_accuracy"] == pytest.approx(full[seed, "test_accuracy"], abs=0.05)
        assert less[seed, "test_loss"] == pytest.approx(full[seed, "test_loss"], rel=0.1)
        assert less[seed, "test_loss"] != full[seed, "test_loss"]


def test_the_first_gradient_in_bfloat16_is_the_full_one_rounded(digits: Dataset):
    """Bias, hidden and last layer: one update from the same weights differs by about 2^-8 of its size."""
    runs = [RunConfig(preset("mup", 3), 0.1, 0)]
    updates = []
    for precision in ("fp32", "bf16"):
        trainer = Trainer(replace(CONFIG, precision=precision), runs, digits)
        before = [t.clone() for t in (*trainer.pack.weights, *trainer.pack.biases)]
        trainer.advance(max_steps=1)
        after = (*trainer.pack.weights, *trainer.pack.biases)
        assert all(tensor.dtype == torch.float32 for tensor in after)
        updates.append([new - old for new, old in zip(after, before, strict=True)])
    for full, less in zip(*updates, strict=True):
        distance = (full - less).norm() / full.norm()
        assert 0 < distance < 0.03


def test_calibration_and_small_numbers_work_in_bfloat16(digits: Dataset):
    """IP at L = 3 has h^3 of order 1/m: the range of bfloat16 is that of single precision."""
    runs = [RunConfig(preset("ip-llr", 3), 0.1, seed, Calibration()) for seed in (0, 1)]
    full, less = (Trainer(replace(CONFIG, precision=p), runs, digits) for p in ("fp32", "bf16"))

    for position in (0, 1):
        assert less.calibrated_rates[position] == pytest.approx(full.calibrated_rates[position], rel=0.03)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_memory_in_bfloat16_is_what_a_trainer_allocates(tiny: Dataset, activation: str):
    config = PackConfig("digits", 2, 16, activation, batch_size=8, steps=1, precision="bf16")
    trainer = Trainer(config, [RunConfig(preset("mup", 2), 0.1, seed) for seed in range(3)], tiny)
    tensors = [*trainer.pack.buffers(), trainer._history]
    model = run_memory(config, tiny.info)

    assert 3 * (model.weights + model.buffers) == sum(t.numel() * t.element_size() for t in tensors)


def test_matmuls_are_rounded_only_inside_the_block():
    before = torch.get_float32_matmul_precision()
    with matmul_precision("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
        with matmul_precision("fp32"):
            assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before


def test_tf32_is_for_cuda(tiny: Dataset):
    runs = [RunConfig(preset("mup", 3), 0.1, 0)]
    with pytest.raises(ConfigError, match="tf32' is for CUDA"):
        Trainer(replace(CONFIG, batch_size=8, precision="tf32"), runs, tiny)
    with pytest.raises(ConfigError, match="did you mean 'fp32'"):
        Trainer(replace(CONFIG, batch_size=8, precision="fp3"), runs, tiny)
