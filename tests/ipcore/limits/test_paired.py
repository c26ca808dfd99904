"""Networks beside kernel machines that start from their own f_0: the probe `paired_outputs`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ipcore
from ipcore.limits.kernels import Kernels
from ipcore.limits.trainer import LimitTrainer
from ipcore.probes.paired import PAIRED, SKETCH
from ipcore.training.checkpoint import restore, take

MOMENTUM = ipcore.OptimizerSettings(momentum=0.8)


def config(width, steps=(0, 1, 4), **more):
    probes = ipcore.Probes(("paired_outputs",), steps=steps)
    shared = {"weights": "none", "probes": probes} | more
    return ipcore.PackConfig("digits", 2, width, "relu", 16, max(steps), **shared)


def of(*names, rate=0.03, seeds=(0,)):
    return [
        ipcore.RunConfig(ipcore.preset(name, 2), rate, seed, None, MOMENTUM)
        for name in names
        for seed in seeds
    ]


def recorded(trainer):
    """By run, metric and step."""
    rows = []
    while not trainer.finished:
        rows += trainer.advance().points.rows()
    return {(run, metric, step): value for run, metric, step, value in rows if metric in PAIRED.metrics}


def by_hand(dataset, pack, run, steps, momentum=0.0):
    """|f - g| / |g - f_0| after some updates: descent on all inputs at once with the whole kernel."""
    x = torch.cat([torch.from_numpy(part.inputs).double() for part in (dataset.train, dataset.test)])
    y, n = torch.from_numpy(dataset.train.labels), len(dataset.train)
    T = Kernels(2, "relu", dataset.input_dim, biased=True, learns=[True] * 3).at(x, x)[1]
    trainer = ipcore.Trainer(pack, [run], dataset, dtype=torch.float64)
    start = trainer.pack.infer(x)[0]
    g, velocity, found = start.clone(), torch.zeros_like(start), {}
    for step in range(1, max(steps) + 1):
        rows = trainer._batches.at(step)[0].long()
        leaf = g[rows].clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(leaf, y[rows])
        velocity = momentum * velocity + T[:, rows] @ torch.autograd.grad(loss, leaf)[0]
        g = g - run.base_learning_rate * velocity
        trainer.advance(max_steps=1)
        f = trainer.pack.infer(x)[0]
        found[step] = float((f - g)[n:].norm() / (g - start)[n:].norm())
    return [found[step] for step in steps]


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("momentum", 0.8)])
def test_the_distance_is_that_of_descent_from_the_networks_own_start(tiny, optimizer, momentum):
    pack, runs = config(64, optimizer=optimizer), of("ntk", seeds=(0, 1))
    found = recorded(ipcore.Trainer(pack, runs, tiny, dtype=torch.float64))
    for position, run in enumerate(runs):
        expected = by_hand(tiny, pack, run, (1, 4), momentum)
        assert [found[position, "paired_distance", step] for step in (1, 4)] == pytest.approx(expected)


def test_the_sums_are_those_of_the_difference(tiny):
    """Of 210 outputs in 128 sums: most are kept alone."""
    found = recorded(ipcore.Trainer(config(32), of("ntk"), tiny))
    unit, *sums = (found[0, metric, 4] for metric in SKETCH)
    assert (np.square(sums).sum() / unit) ** 0.5 == pytest.approx(found[0, "paired_distance", 4], rel=0.5)
    assert [found[0, metric, 0] for metric in SKETCH] == [0.0] * len(SKETCH)
    assert (0, "paired_distance", 0) not in found


def test_only_kernels_with_a_random_start_have_one(tiny):
    """Neither particles, nor networks without a limit, nor kernels that start from 0; nor a limit itself."""
    names = ("mup", "ntk", "hpz", "up:1/4", "sp-stable")
    found = recorded(ipcore.Trainer(config(16), of(*names), tiny))
    assert {names[run] for run, _, _ in found} == {"ntk", "sp-stable"}
    infinite = replace(config(16), infinite_width=True)
    assert not recorded(LimitTrainer(infinite, of("ntk"), tiny))


def test_runs_beside_each_other_have_the_numbers_that_they_have_alone(tiny):
    """Rates and seeds of their own; two of them share batches and so the kernel."""
    runs = [*of("ntk", seeds=(0, 1)), *of("ntk", rate=0.1), *of("sp-stable")]
    together = recorded(ipcore.Trainer(config(32), runs, tiny, dtype=torch.float64))
    for position, run in enumerate(runs):
        for (_, metric, step), value in recorded(
            ipcore.Trainer(config(32), [run], tiny, dtype=torch.float64)
        ).items():
            assert together[position, metric, step] == pytest.approx(value, rel=1e-6, abs=1e-12)


def test_a_checkpoint_holds_the_machine_and_f_0_is_that_of_step_0(tiny, tmp_path):
    def trainer():
        return ipcore.Trainer(config(32, optimizer="momentum"), of("ntk"), tiny)

    whole, first, second = recorded(trainer()), trainer(), trainer()
    first.advance(max_steps=2)
    take(first).write(tmp_path / "half.safetensors")
    restore(second, tmp_path / "half.safetensors")
    assert {key: whole[key] for key in recorded(second)} == recorded_again(trainer, tmp_path)


def recorded_again(trainer, folder):
    again = trainer()
    restore(again, folder / "half.safetensors")
    return recorded(again)


@pytest.mark.parametrize("name", ["ntk", "sp-stable"])
def test_with_momentum_the_distance_falls_with_the_width_like_m_to_the_minus_one_half(tiny, name):
    squares = {}
    for m in (32, 512):
        pack = config(m, (8,), optimizer="momentum")
        found = recorded(ipcore.Trainer(pack, of(name, rate=0.02, seeds=range(6)), tiny))
        squares[m] = np.mean([found[run, "paired_distance", 8] ** 2 for run in range(6)])
    assert squares[512] < squares[32] / 6
    assert squares[512] < 0.05
