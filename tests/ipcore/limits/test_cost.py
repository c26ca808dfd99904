"""Estimates of memory against what is taken, and what follows from them."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import ipcore
from ipcore.config import PackConfig
from ipcore.limits.cost import cost, deferring_width, dense_width, largest_steps, largest_width
from ipcore.limits.trainer import LimitTrainer, trainer_of
from ipcore.planning.kernel_machine import paired_bytes
from ipcore.planning.machine import DEFAULT_GPU
from ipcore.theory import preset
from tests.ipcore.limits.memory import ALLOCATOR, CASES, case


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to measure the peak of memory")
def test_memory_is_estimated_within_a_fifth(digits):
    done = subprocess.run(
        [sys.executable, "-m", "tests.ipcore.limits.memory"],
        check=False,
        env=os.environ | ALLOCATOR,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    estimates = [cost(*case(name, **more), digits.info).memory_bytes for name, more in CASES]
    ratios = [f"{took / estimate:.2f}" for took, estimate in zip(taken, estimates, strict=True)]
    assert estimates == pytest.approx(taken, rel=0.2), ratios


@pytest.mark.parametrize("deferred", [False, True])
def test_what_fits_is_the_largest_that_fits(digits, deferred):
    config, run = case("hpz", 3, 4096, 20, deferred=deferred)
    memory = cost(config, run, digits.info).memory_bytes // 2

    def need(**change):
        return cost(dataclasses.replace(config, **change), run, digits.info).memory_bytes

    width, steps = (f(config, run, digits.info, memory) for f in (largest_width, largest_steps))
    assert 0 < width < 4096
    assert need(width=width) <= memory < need(width=width + 1)
    if steps:
        assert need(steps=steps) <= memory < need(steps=steps + 1)
    assert largest_width(config, run, digits.info, 1000) == 0


def test_dense_training_fits_up_to_a_width(digits):
    config, _ = case("mup", 3, 100_000, 50, deferred=True)
    assert 10_000 < dense_width(config, digits.info, 4 << 30) < 30_000


def test_a_width_of_100_000_fits_where_a_dense_network_does_not(digits):
    config, run = case("mup", 3, 100_000, 50, deferred=True)
    assert cost(config, run, digits.info).memory_bytes < 12 << 30
    assert deferring_width(config.steps * config.batch_size, gpu=False) < 100_000


def test_weights_are_deferred_from_fewer_neurons_on_where_drawing_takes_the_time():
    """A GPU trains fast and draws no faster. By the multiply-adds alone it would be 3 for every example."""
    assert 4 * 1600 <= deferring_width(1600, gpu=True) < deferring_width(1600, gpu=False)


def test_work_of_particles_is_counted_in_multiply_adds(digits):
    """Digits have 64 inputs, a bias and 10 classes; 32 examples, 2 hidden matrices, 2 replicas.

    Update t reads 32 t columns of two factors, forward and backward. Draws of step 0 from covariances are
    four products in double precision.
    """
    N, B = 10_000, 32
    ends, first = B * N * (2 * 65 + 3 * 10), 8 * B * B * N
    config, run = case("hpz", 3, N, 50)
    updates = sum(4 * N * B * (B * t) for t in range(50))
    assert cost(config, run, digits.info).work == 2 * (2 * (updates + first) + 50 * ends)


def test_work_of_a_matrix_that_was_formed_is_that_of_dense_training(digits):
    """12 updates of 32 make 384 columns, at most 400: update 12 still reads them and forms the matrix."""
    N, B = 400, 32
    ends, first = B * N * (2 * 65 + 3 * 10), 8 * B * B * N
    config, run = case("hpz", 3, N, 50)
    updates = sum(4 * N * B * (B * t) for t in range(13)) + 384 * N * N
    updates += 38 * B * N * N + 2 * 37 * B * N * N  # gradients from update 12 on, both passes from 13 on
    assert cost(config, run, digits.info).work == 2 * (2 * (updates + first) + 50 * ends)
    tests = digits.info.test_size
    assert cost(config, run, digits.info).evaluation_work == 2 * tests * (N * 75 + 2 * N * N)


@pytest.mark.parametrize(
    ("name", "more", "tolerance"),
    [
        ("hpz", {"L": 3, "m": 1024, "steps": 12}, 0.02),
        ("hpz", {"L": 3, "m": 256, "steps": 24, "optimizer": "momentum"}, 0.02),
        ("mfp", {"L": 1, "m": 256, "steps": 8}, 0.02),
        ("hpz", {"L": 3, "m": 1024, "steps": 12, "deferred": True}, 0.1),
        ("mup", {"L": 3, "m": 1024, "steps": 6, "deferred": True}, 0.1),
    ],
)
def test_work_is_that_of_the_products_that_training_makes(digits, name, more, tolerance):
    """As torch counts them; it does not see factorizations (of deferred weights)."""
    config, run = case(name, replicas=1, **more)
    in_place = {torch.ops.aten.addmm_: lambda out, a, b, *_, **__: 2 * a[0] * a[1] * b[1]}
    trainer = LimitTrainer(config, [run], digits, threads=1)
    with FlopCounterMode(display=False, custom_mapping=in_place) as counted, torch.inference_mode():
        for step in range(config.steps):
            trainer.learners[0].update(step, trainer._batches.at(step + 1)[0].long())
    assert cost(config, run, digits.info).work == pytest.approx(counted.get_total_flops() / 2, rel=tolerance)


@pytest.mark.parametrize(
    ("activation", "L", "steps"), [("relu", 2, 10), ("erf", 3, 40), ("tanh", 1, 1), ("elu", 2, 10)]
)
def test_memory_of_paired_machines_is_estimated_within_a_fifth(digits, activation, L, steps):
    """Peak of all tensors of the same networks with and without machines."""
    config = PackConfig("digits", L, 16, activation, 32, steps, weights="none")
    paired = replace(config, probes=ipcore.Probes(("paired_outputs",), steps=(steps,)))
    runs = [ipcore.RunConfig(preset("ntk", L), 0.03, 0)]
    largest_tensors(paired, runs, digits)  # what is kept from the first use on
    taken = largest_tensors(paired, runs, digits) - largest_tensors(config, runs, digits)
    assert paired_bytes(paired, digits.info, 1) == pytest.approx(taken, rel=0.2)


@pytest.mark.parametrize(("name", "steps"), [("mup", 2), ("hpz", 4)])
def test_memory_of_calibrated_deferred_weights_is_estimated_within_a_fifth(digits, name, steps):
    """A calibration asks about three batches."""
    config, run = case(name, L=3, m=2048, steps=steps, deferred=True)
    calibrated = replace(run, calibration=ipcore.Calibration(0.1))
    taken = largest_tensors(config, [calibrated], digits)
    assert cost(config, calibrated, digits.info).memory_bytes == pytest.approx(taken, rel=0.2)
    assert cost(config, run, digits.info).memory_bytes < cost(config, calibrated, digits.info).memory_bytes


def largest_tensors(config, runs, dataset):
    """Bytes of all tensors at the largest moment of training."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        trainer_of(config, runs, dataset, threads=1).advance()
    worst = current = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            worst = max(worst, current)
    return worst


def test_the_time_of_deferred_weights_on_a_fast_device_is_that_of_drawing_normals(digits):
    """Two sides of two matrices answer 160 questions each; the ends have 65 and 10 numbers a neuron."""
    config, run = case("mup", 3, 100_000, 5, deferred=True)
    found = cost(config, run, digits.info)
    assert found.normals == 100_000 * (65 + 10 + 2 * 2 * 160)
    assert found.evaluation_normals == 2 * 100_000 * digits.info.test_size
    assert found.seconds(DEFAULT_GPU.on_threads(1000)) > 0.9 * found.seconds(DEFAULT_GPU)
    removed = cost(*case("hpz", 3, 100_000, 5, deferred=True), digits.info)
    assert removed.normals == 100_000 * (65 + 10 + 2 * 2 * 32)
    assert removed.evaluation_normals == 0


def test_what_has_no_limit_has_no_cost(digits):
    with pytest.raises(ValueError, match="deferred"):
        cost(*case("mup"), digits.info)
