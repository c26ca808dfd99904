"""Calibrated first rates at m = infinity against those of wide networks."""

import numpy as np
import pytest
import torch

import ipcore
from ipcore.limits.deferred_network import DeferredNetwork
from ipcore.limits.trainer import LimitTrainer
from ipcore.randomness import calibration_batches
from ipcore.theory import preset


def config(L, phi, m, **more):
    return ipcore.PackConfig("digits", L, m, phi, 8, 3, weights="none", **more)


def run(name, L, seed, target=0.5):
    return ipcore.RunConfig(preset(name, L), 0.3, seed, ipcore.Calibration(target, cap=1e9))


@pytest.mark.parametrize(
    ("name", "phi", "L"),
    [
        ("ip-llr", "relu", 3),
        ("ip-llr", "abs", 2),
        ("hp", "relu", 3),
        ("hpz", "gelu", 3),
        ("hp", "tanh", 2),
        ("mup", "elu", 1),
    ],
)
def test_rates_of_wide_networks_tend_to_those_of_the_limit(tiny, name, phi, L):
    limit = LimitTrainer(config(L, phi, 6000, infinite_width=True), [run(name, L, 0)], tiny)
    wanted = np.array(limit.calibrated_rates[0])
    one, two = map(torch.from_numpy, calibration_batches(40, 8))
    inputs, labels = torch.from_numpy(tiny.train.inputs), torch.from_numpy(tiny.train.labels)
    found = []
    for seed in range(8):
        network = DeferredNetwork(config(L, phi, 4000, deferred=True), run(name, L, seed), 5, 3)
        found.append(network.first_rates((inputs[one], labels[one]), inputs[two]))
    logs = np.log(np.array(found))
    error = logs.std(axis=0, ddof=1) / np.sqrt(len(logs))
    # The limit has an error of its own, and networks of this width a bias.
    assert (np.abs(logs.mean(axis=0) - np.log(wanted)) < 0.05 + 3 * error).all()
    assert wanted[0] == 0.3


def test_only_what_is_returned_is_capped(tiny):
    free = LimitTrainer(config(3, "relu", 500, infinite_width=True), [run("ip-llr", 3, 0)], tiny)
    rates = free.calibrated_rates[0]
    capped = ipcore.RunConfig(preset("ip-llr", 3), 0.3, 0, ipcore.Calibration(0.5, cap=rates[2] / 2))
    trainer = LimitTrainer(config(3, "relu", 500, infinite_width=True), [capped], tiny)
    assert trainer.calibrated_rates[0] == pytest.approx(
        (*rates[:2], rates[2] / 2, min(rates[3], rates[2] / 2))
    )


def test_the_first_update_has_the_size_asked_for(tiny):
    """IP-LLR: mean |h_1^l| on batch 2 is 1 in the hidden layers."""
    setting = config(3, "relu", 4000, infinite_width=True, replicas=1)
    trainer = LimitTrainer(setting, [run("ip-llr", 3, 0)], tiny)
    one, two = calibration_batches(40, 8)
    learner = trainer.learners[0]
    with torch.inference_mode():
        learner.update(0, torch.from_numpy(one))
        h = learner.replicas[0].hidden(torch.from_numpy(tiny.train.inputs[two]))
    for values in h[1:]:
        # Training's particles are those of calibration, with other Gaussians.
        assert float(values.abs().mean()) == pytest.approx(1.0, rel=0.15)
