"""Shared by the tests of the dispatcher: running it until a condition holds, and results of experiments."""

import time

from ipcore import Network
from ipserver.store import open_store, segments
from tests.ipserver.support import settings_in, store_in


def run_until(dispatcher, condition, seconds=180):
    """Work with a dispatcher until a condition holds.

    On a busy machine a slice may be a single update, so the time is bounded, not the number of passes.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached"
        step(dispatcher)


def step(dispatcher):
    """One pass, with a pause if no pack is in hand: others (Ray, another process) need the core."""
    if not dispatcher.step():
        time.sleep(0.01)


def ended(store, experiment="e"):
    return lambda: store.get_experiment(experiment).state.terminal


def points(store, experiment="e"):
    """All committed points as {(run, metric, step): value}."""
    found = {}
    for segment in store.segments(experiment, packs=None, first_step=0, last_step=None):
        block = segments.decode(segment.data)
        for run, metric, step, value in zip(block.run, block.metric, block.step, block.value, strict=True):
            key = (int(run), block.metrics[metric], int(step))
            assert key not in found, f"{key} was committed twice"
            found[key] = float(value)
    return found


def final_weights(store, settings):
    weights = {}
    for run in store.list_runs("e", limit=10):
        artifact = store.get_artifact("e", run.index, "weights/final.safetensors")
        weights[run.index] = {
            name: array.tolist()
            for name, array in Network.load(settings.artifact_root.folder / artifact.location)
            .arrays()
            .items()
        }
    return weights


def notices(store, experiment):
    events = store.events(experiment, after=0, limit=1000)
    return [event.payload["message"] for event in events if event.kind == "notice"]


class Clock:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


def clocked(home, **options):
    """Settings, a store with its own clock, and the clock."""
    settings, clock = settings_in(home, **options), Clock()
    store_in(settings).close()
    return settings, open_store(settings.store_dsn, clock=clock), clock
