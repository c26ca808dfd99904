"""A profile recovers the machine from synthetic measurements; real measurements train."""

from __future__ import annotations

import pytest

from ipcore.catalogue import dataset_info
from ipcore.planning.machine import MachineProfile
from ipcore.planning.memory import run_memory
from ipcore.training import profiling

INFO = dataset_info(profiling._CONFIG.dataset)


def test_the_fit_gives_the_machine_back():
    memory = run_memory(profiling._CONFIG, INFO)
    size = memory.weights + memory.optimizer + memory.buffers
    machine = MachineProfile(launch_seconds=2e-5, rate=4e10, cache_bytes=32 * size, bandwidth=3e9)
    tiny = machine.launch_seconds * 6  # L = 3
    found = {runs: machine.update_seconds(profiling._CONFIG, INFO, runs) for runs in (8, 16, 32, 64, 128)}

    fitted = profiling.fit(tiny, found)

    assert fitted.launch_seconds == pytest.approx(2e-5)
    assert fitted.rate == pytest.approx(4e10)
    assert fitted.cache_bytes == 32 * size
    assert fitted.bandwidth == pytest.approx(3e9)


def test_where_nothing_gets_slower_traffic_costs_nothing():
    machine = MachineProfile(launch_seconds=2e-5, rate=4e10, cache_bytes=1 << 40, bandwidth=1.0)
    found = {runs: machine.update_seconds(profiling._CONFIG, INFO, runs) for runs in (8, 128)}

    assert profiling.fit(12e-5, found).bandwidth is None


@pytest.mark.parametrize("found", [{8: 0.0, 16: 1e-9}, {8: 1e-3, 16: 1e-6, 32: 5.0}])
def test_a_clock_that_jumps_gives_a_profile_all_the_same(found):
    fitted = profiling.fit(1e-2, {runs: seconds + 1e-12 for runs, seconds in found.items()})

    assert fitted.rate > 0 and fitted.cache_bytes > 0 and (fitted.bandwidth is None or fitted.bandwidth > 0)


def test_a_measured_profile_predicts_positive_times():
    profile = profiling.measure(threads=1, seconds=0.002)

    assert profile.memory_bytes == 0
    one, many = (profile.update_seconds(profiling._CONFIG, INFO, runs) for runs in (1, 64))
    assert 0 < one < many
