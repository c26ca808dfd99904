"""A pack that does not fit into memory is divided, and every run is trained."""

import gc
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState, FailureReason
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import ended, final_weights, notices, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit

# Eight runs of one shape, of about 13 MB each. Threads that write files need memory too.
WIDE = {"grid": {"widths": [1024], "seeds": list(range(4))}, "batch_size": 512, "steps": 2}
WIDE |= {"dataset": "parity:d=64,k=2,n=512,test=64"}  # to evaluate it costs little
ROOM = 80 << 20
GIVE_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}


@contextmanager
def little_memory(more):
    """Limit this process to a number of bytes beyond its current size."""
    gc.collect()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def train(home, spec, room=None):
    settings = settings_in(home, lease_seconds=600)  # for busy machines
    store = store_in(settings)
    submit(store, spec)
    executor = LocalExecutor(cpus=1)
    dispatcher = Dispatcher(store, executor, settings, "d")
    try:
        if room is None:
            run_until(dispatcher, ended(store))
        else:
            with little_memory(room):
                run_until(dispatcher, ended(store))
    finally:
        executor.close()
    return store, settings


def train_with_little(folder):
    train(Path(folder) / "warm", small_spec())  # libraries are loaded
    train(Path(folder) / "little", small_spec(**WIDE), ROOM)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from /proc")
def test_a_pack_that_does_not_fit_goes_on_in_halves(tmp_path):
    little = tmp_path / "little"
    code = f"from {__name__} import train_with_little; train_with_little({str(tmp_path)!r})"
    # A separate process, whose allocator returns freed memory, since the limit is on reserved memory.
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **GIVE_BACK}, timeout=800)

    settings = settings_in(little)
    store = open_store(settings.store_dsn)
    experiment = store.get_experiment("e")
    assert experiment.state is ExperimentState.SUCCEEDED
    assert experiment.committed_steps == 8 * 2
    attempts = [store.attempts("e", index) for index in range(8)]
    assert FailureReason.OUT_OF_MEMORY in {attempt.end_reason for own in attempts for attempt in own}
    assert {own[-1].end_reason for own in attempts} == {None}
    said = [text for text in notices(store, "e") if "two packs of half its runs" in text]
    assert said and "runs, planned for" in said[0]
    undisturbed, elsewhere = train(tmp_path / "plenty", small_spec(**WIDE))
    assert notices(undisturbed, "e") == []
    assert points(store).keys() == points(undisturbed).keys()
    found, expected = final_weights(store, settings), final_weights(undisturbed, elsewhere)
    assert found.keys() == expected.keys()
    for run, weights in expected.items():
        for name, values in found[run].items():
            assert np.allclose(values, weights[name], rtol=1e-4, atol=1e-6)
