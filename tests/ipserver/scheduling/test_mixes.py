"""Random mixes of sizes and priorities, one and two dispatchers: fitting packs start, urgent ones first."""

from __future__ import annotations

import collections
import random

import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState
from tests.ipserver.scheduling.cases import Clock, clocked
from tests.ipserver.scheduling.simulation import PATIENCE, FakeCluster, FakeExecutor, passes
from tests.ipserver.support import small_spec, submit
from tests.watching import Watch

CLUSTERS = {
    "two cores": ({"n0": {"cpus": 2.0}}, [{"cpus": 1}, {"cpus": 2}, {"cpus": 0.5}]),
    "four cores, a disk": (
        {"n0": {"cpus": 4.0, "disk": 1.0}},
        [{"cpus": 1}, {"cpus": 3}, {"cpus": 1, "custom": {"disk": 1}}, {"cpus": 4}],
    ),
    "three nodes with GPUs": (
        {
            "n0": {"cpus": 2.0},
            "n1": {"cpus": 4.0, "gpus": 2.0},
            "n2": {"cpus": 2.0, "gpus": 1.0},
        },
        [
            {"cpus": 1},
            {"cpus": 2},
            {"cpus": 0.5, "gpus": 0.6},
            {"cpus": 1, "gpus": 1},
            {"cpus": 2, "gpus": 2},
        ],
    ),
}
ONE_RUN = {"parameterizations": [{"preset": "mup"}], "seeds": [0]}


def leased(board, known):
    """Experiments with a new lease, with their nodes; updates `known`."""
    claims = {claim.lease: claim for claim in board.claims}
    new = {claim.experiment: claim.node for lease, claim in claims.items() if lease not in known}
    known.clear()
    known.update(claims)
    return new


@pytest.mark.parametrize("kind", CLUSTERS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("seed", range(1))
def test_what_fits_starts_and_the_most_urgent_first(tmp_path, kind, count, seed):
    draw = random.Random(f"{kind} {count} {seed}")
    settings, store, clock = clocked(tmp_path, lease_seconds=5, max_attempts=1, max_attempts_lease_lost=1000)
    nodes, sizes = CLUSTERS[kind]
    cluster, monotonic = FakeCluster(nodes), Clock()
    # The last of several dispatchers is killed meanwhile, and another one replaces it.
    ready = 2 if count == 1 else 0
    executors = [FakeExecutor(cluster, ready, steps=7) for _ in range(count)]
    dispatchers = [Dispatcher(store, it, settings, f"d{n}", monotonic) for n, it in enumerate(executors)]
    watch, known, names = Watch(nodes, PATIENCE), {}, []
    for number in range(400):
        if number < 60 and draw.random() < 0.3:
            names.append(f"e{len(names)}")
            spec = small_spec(resources=draw.choice(sizes), steps=draw.choice([7, 20, 70]), grid=ONE_RUN)
            submit(store, spec, names[-1], priority=draw.choice([0, 0, 0, 1, 2]))
        passes(dispatchers, cluster)
        if number == 30 and count > 1:
            executors[-1].close()
            dispatchers.pop()
        if number == 40 and count > 1:
            executors[-1] = FakeExecutor(cluster, ready, steps=7)
            dispatchers.append(Dispatcher(store, executors[-1], settings, "another", monotonic))
        board = store.board("a fake")
        started = leased(board, known)
        if not (count > 1 and 30 <= number < 40):  # the dead one keeps its resources until its leases end
            watch.look(number, cluster.taken(), board.queued, started)
        clock.time += 1
        monotonic.time += 1
        if number >= 60 and all(store.get_experiment(name).state.terminal for name in names):
            break

    states = collections.Counter(store.get_experiment(name).state for name in names)
    assert states == {ExperimentState.SUCCEEDED: len(names)}, "nobody starves"
    assert cluster.actors == [] or ready
    store.close()
