"""The time of an update: exact for hand-worked numbers, and fitted to measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipcore.catalogue import DATASETS
from ipcore.config import PackConfig
from ipcore.models import ResidualMlp
from ipcore.planning.machine import MachineProfile, evaluation_work, update_work
from ipcore.planning.memory import run_memory

DIGITS = DATASETS["digits"]
CONFIG = PackConfig("digits", hidden_layers=2, width=64, activation="relu", batch_size=32, steps=10)
PROFILE = MachineProfile(launch_seconds=1e-5, rate=1e9, cache_bytes=1 << 20, bandwidth=1e9)


def test_work_counts_the_matmuls_of_an_update():
    # 32 examples; layer 1 (64x64) forward and weight gradient; layer 2 (64x64) and readout (64x10) all three.
    assert update_work(CONFIG, DIGITS) == 32 * (2 * 64 * 64 + 3 * (64 * 64 + 64 * 10))


def test_newton_schulz_steps_are_work_too():
    # Five steps; 64x64 twice: three matmuls of 64^3; 10x64: its Gram matrix, that squared, that on 10x64.
    steps = 5 * (2 * 3 * 64**3 + 2 * 10 * 640 + 10**3)
    muon = replace(CONFIG, optimizer="muon")
    assert update_work(muon, DIGITS) == update_work(CONFIG, DIGITS) + steps


def test_evaluation_is_one_forward_pass_over_the_test_set():
    assert evaluation_work(CONFIG, DIGITS) == 360 * (64 * 64 + 64 * 64 + 64 * 10)


def test_an_update_within_the_cache_costs_launches_and_matmuls():
    # L + 3 = 5 launches; 2 networks of 716,800 multiply-adds.
    assert PROFILE.update_seconds(CONFIG, DIGITS, 2) == pytest.approx(5e-5 + 2 * 716_800e-9)


def test_residual_mlps_cost_what_they_do():
    # L = 2, one matrix per block: W^1, two blocks, readout; 4 matmuls, 3 activations, 2 sums.
    residual = replace(CONFIG, model=ResidualMlp())
    assert update_work(residual, DIGITS) == 32 * (2 * 64 * 64 + 3 * (2 * 64 * 64 + 64 * 10))
    assert evaluation_work(residual, DIGITS) == 360 * (3 * 64 * 64 + 64 * 10)
    launches = 7
    assert PROFILE.update_seconds(residual, DIGITS, 1) == pytest.approx(
        launches * 1e-5 + update_work(residual, DIGITS) / 1e9
    )


def test_what_does_not_fit_into_the_cache_costs_traffic():
    memory = run_memory(CONFIG, DIGITS)
    each = memory.weights + memory.optimizer + memory.buffers
    beyond = 100 * each - (1 << 20)
    assert beyond > 0
    inside = replace(PROFILE, cache_bytes=1 << 40).update_seconds(CONFIG, DIGITS, 100)
    assert PROFILE.update_seconds(CONFIG, DIGITS, 100) == pytest.approx(inside + beyond / 1e9)


def test_threads_share_the_work_but_not_the_launches():
    four = PROFILE.on_threads(4)
    assert (four.rate, four.bandwidth, four.launch_seconds) == (4e9, 4e9, 1e-5)
