"""Estimates of memory against what is taken, and what follows from them."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

import ipcore
from ipcore.limits.cost import cost, deferring_width, dense_width, largest_steps, largest_width
from ipcore.planning.machine import DEFAULT_GPU
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
    """A GPU trains fast and draws no faster. By the operations alone it would be 4 for every example."""
    assert 4 * 1600 <= deferring_width(1600, gpu=True) < deferring_width(1600, gpu=False)


def test_work_of_particles_is_the_sum_over_updates():
    """4 (L-1) N (T B)^2 operations, and less once matrices are formed."""
    info = ipcore.load_dataset("digits").info
    config, run = case("hpz", 3, 10_000, 50)
    factored = 4 * 2 * 10_000 * (50 * 32) ** 2 * 2
    assert cost(config, run, info).work == pytest.approx(factored, rel=0.15)
    few, _ = case("hpz", 3, 400, 50)
    assert cost(few, run, info).work < 4 * 2 * 400 * (50 * 32) ** 2 * 2


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
