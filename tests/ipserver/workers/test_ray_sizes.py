"""Packs of several sizes on a real Ray that keeps workers ready: no pack waits for a kept worker."""

import time

import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState
from tests.ipserver.scheduling.cases import run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def executor(ray_here):
    """Keeps two workers ready, as by IPLAB_READY_WORKERS."""
    ray_here._ready_workers = 2
    ray_here._make_ready()
    yield ray_here
    ray_here._ready_workers = 0
    ray_here.trim()


@pytest.fixture
def case(executor, tmp_path):
    settings = settings_in(tmp_path, slice_seconds=0.1, lease_seconds=600, worker_start_seconds=600)
    store = store_in(settings)
    return store, Dispatcher(store, executor, settings, "d", monotonic=lambda: 2 * time.monotonic())


def ended(store, *names):
    return lambda: all(store.get_experiment(name).state is ExperimentState.SUCCEEDED for name in names)


def trains(store, name):
    return lambda: store.get_experiment(name).committed_steps > 0


def test_packs_of_several_sizes_take_turns(case):
    """A large pack starts when a small one ends whose worker would be kept; smaller ones follow it."""
    store, dispatcher = case
    submit(store, small_spec(steps=2000), "small")
    run_until(dispatcher, trains(store, "small"))
    submit(store, small_spec(resources={"cpus": 2}), "large")
    run_until(dispatcher, ended(store, "small", "large"))
    submit(store, small_spec(resources={"cpus": 0.5}), "half")
    submit(store, small_spec(), "later")

    run_until(dispatcher, ended(store, "half", "later"))
