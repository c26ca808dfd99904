"""A network beside the kernel machine that starts from its own f_0."""

import numpy as np
import pytest
import torch

import ipcore
from ipcore.errors import ConfigError
from ipcore.limits.paired import paired_outputs


def pairs(digits, width, steps=(1, 4), name="ntk", seed=0):
    config = ipcore.PackConfig("digits", 2, width, "relu", 16, max(*steps, 4), weights="none")
    run = ipcore.RunConfig(ipcore.preset(name, 2), 0.03, seed)
    return list(paired_outputs(config, run, digits, steps, threads=1))


def test_the_first_update_is_that_of_the_kernel_from_the_networks_own_start(digits):
    """Both begin at f_0; the network's own change is its trainer's."""
    first, _ = pairs(digits, 512)
    config = ipcore.PackConfig("digits", 2, 512, "relu", 16, 4, weights="none")
    trainer = ipcore.Trainer(config, [ipcore.RunConfig(ipcore.preset("ntk", 2), 0.03, 0)], digits, threads=1)
    inputs = torch.from_numpy(digits.test.inputs)
    torch.testing.assert_close(first.start, trainer.pack.infer(inputs)[0].double())
    trainer.advance(max_steps=1)
    torch.testing.assert_close(first.network, trainer.pack.infer(inputs)[0].double())
    # In the same direction and of about the same size: the kernels differ by m^(-1/2).
    one, other = first.network - first.start, first.kernel - first.start
    assert float((one * other).sum() / one.norm() / other.norm()) > 0.8


def test_the_paired_distance_falls_with_the_width_like_m_to_the_minus_one_half(digits):
    wide = {m: np.mean([pairs(digits, m, seed=seed)[1].square for seed in range(4)]) for m in (64, 1024)}
    slope = np.log(wide[1024] / wide[64]) / 2 / np.log(1024 / 64)
    assert -0.8 < slope < -0.25


def test_only_kernels_need_pairing_and_steps_ascend(digits):
    with pytest.raises(ConfigError, match="no kernel"):
        pairs(digits, 16, name="hpz")
    with pytest.raises(ConfigError, match="must ascend"):
        pairs(digits, 16, steps=(4, 1))
