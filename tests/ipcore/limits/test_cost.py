"""Estimates of memory against what is taken, and what follows from them."""

import ctypes
import dataclasses
import gc
import sys
from pathlib import Path

import pytest

import ipcore
from ipcore.limits.cost import cost, deferred_is_cheaper, dense_width, largest_steps, largest_width
from ipcore.limits.trainer import LimitTrainer
from ipcore.theory import preset


def case(name, L=2, m=64, steps=4, **more):
    more.setdefault("infinite_width", not more.get("deferred", False))
    config = ipcore.PackConfig("digits", L, m, "relu", 32, steps, weights="none", **({"replicas": 2} | more))
    return config, ipcore.RunConfig(preset(name, L), 0.03, 0)


def _status(field):
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])


def taken(config, run, dataset):
    """Bytes that training takes at its largest moment, beside what is there before."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before = _status("VmRSS")
    trainer = LimitTrainer(config, [run], dataset, threads=1)
    trainer.advance()
    peak = _status("VmHWM")
    del trainer
    return peak - before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to measure the peak of memory")
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("hpz", {"L": 3, "m": 8192, "steps": 24}),
        ("hp", {"L": 2, "m": 8192, "steps": 24}),
        ("hpz", {"L": 3, "m": 1400, "steps": 50, "optimizer": "momentum"}),
        ("mup", {"L": 3, "m": 16384, "steps": 10, "deferred": True}),
        ("hpz", {"L": 3, "m": 16384, "steps": 10, "deferred": True, "optimizer": "momentum"}),
        ("ntk", {"steps": 40}),
    ],
)
def test_memory_is_estimated_within_a_fifth(digits, name, more):
    for warm in (case("hp"), case("mup", deferred=True)):
        LimitTrainer(warm[0], [warm[1]], digits, threads=1).advance()  # what torch and LAPACK keep
    config, run = case(name, **more)
    estimate = cost(config, run, digits.info).memory_bytes
    assert estimate == pytest.approx(taken(config, run, digits), rel=0.2)


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
    assert deferred_is_cheaper(config, digits.info)
    assert not deferred_is_cheaper(dataclasses.replace(config, width=9_600), digits.info)


def test_work_of_particles_is_the_sum_over_updates():
    """4 (L-1) N (T B)^2 multiply-adds, and less once matrices are formed."""
    info = ipcore.load_dataset("digits").info
    config, run = case("hpz", 3, 10_000, 50)
    factored = 4 * 2 * 10_000 * (50 * 32) ** 2 * 2
    assert cost(config, run, info).work == pytest.approx(factored, rel=0.15)
    few, _ = case("hpz", 3, 400, 50)
    assert cost(few, run, info).work < 4 * 2 * 400 * (50 * 32) ** 2 * 2


def test_what_has_no_limit_has_no_cost(digits):
    with pytest.raises(ValueError, match="deferred"):
        cost(*case("mup"), digits.info)
