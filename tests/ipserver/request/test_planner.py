"""The plan of packs: every run once, equal shapes together, within the limits of memory and size."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ipcore.catalogue import DATASETS
from ipcore.config import PackConfig
from ipcore.planning.machine import MachineProfile, update_work
from ipcore.planning.memory import dataset_memory_bytes, pack_memory_bytes, run_memory
from ipserver.request.planner import PlanLimits, pack_seconds, plan
from ipserver.store.records.runs import RunRecord
from ipserver.store.states import RunState
from ipserver.store.summary import Summary

CONFIG = PackConfig("digits", hidden_layers=2, width=64, activation="relu", batch_size=32, steps=10)
DIGITS = DATASETS["digits"]
ROOMY = PlanLimits(slots=2, max_runs=64, max_bytes=1 << 34)


def a_run(index: int, width: int = 64, activation: str = "relu", hidden_layers: int = 2, steps: int = 10):
    config = replace(CONFIG, width=width, activation=activation, hidden_layers=hidden_layers, steps=steps)
    run = RunRecord(
        hidden_layers,
        width,
        activation,
        experiment="e",
        index=index,
        parameterization="ip",
        base_learning_rate=0.1,
        seed=index,
        state=RunState.QUEUED,
        pack="",
        committed_steps=0,
        steps=10,
        summary=Summary(),
        calibrated_rates=(),
        failure=None,
        start_time=None,
        end_time=None,
        mlflow_run_id="",
    )
    return run, config


def _shape(run: RunRecord) -> tuple[int, int, str]:
    return run.hidden_layers, run.width, run.activation


def _fits(config: PackConfig, runs: int, limits: PlanLimits) -> bool:
    return pack_memory_bytes(config, DIGITS, runs) + dataset_memory_bytes(DIGITS) <= limits.max_bytes


shapes = st.tuples(st.sampled_from([8, 64, 256]), st.sampled_from(["relu", "tanh"]), st.integers(1, 3))
grids = st.lists(shapes, min_size=1, max_size=80).map(
    lambda grid: [a_run(index, *shape) for index, shape in enumerate(grid)]
)
limits = st.builds(PlanLimits, st.integers(1, 16), st.integers(1, 64), st.integers(1 << 18, 1 << 30))


@given(grids, limits)
def test_every_run_is_in_exactly_one_pack_of_its_shape(runs, limits):
    packs = plan(runs, DIGITS, limits)

    assert sorted(index for pack in packs for index in pack.run_indices) == [run.index for run, _ in runs]
    assert len({pack.id for pack in packs}) == len(packs)
    for pack in packs:
        members = [runs[index][0] for index in pack.run_indices]
        assert {(r.hidden_layers, r.width, r.activation) for r in members} == {
            (pack.hidden_layers, pack.width, pack.activation)
        }
        assert len(members) <= limits.max_runs
        assert pack.memory_bytes <= limits.max_bytes or len(members) == 1


@given(grids, limits)
def test_the_plan_is_a_function_of_its_input(runs, limits):
    assert plan(runs, DIGITS, limits) == plan(list(runs), DIGITS, limits)


@given(grids, limits)
def test_long_packs_come_first(runs, limits):
    seconds = [
        pack_seconds(runs[pack.run_indices[0]][1], DIGITS, len(pack.run_indices), limits.profile)
        for pack in plan(runs, DIGITS, limits)
    ]
    assert seconds == sorted(seconds, reverse=True)


@given(grids, limits)
def test_no_pack_takes_much_longer_per_run_than_the_best(runs, limits):
    for pack in plan(runs, DIGITS, limits):
        config = runs[pack.run_indices[0]][1]
        size = len(pack.run_indices)
        peers = [run for run, _ in runs if _shape(run) == _shape(runs[pack.run_indices[0]][0])]
        fits = [
            n for n in range(1, min(len(peers), limits.max_runs) + 1) if n == 1 or _fits(config, n, limits)
        ]
        best = min(pack_seconds(config, DIGITS, n, limits.profile) / n for n in fits)
        # Filling the slots may cost a factor of 1.5; sizes are tried in steps of a quarter, and memory may
        # limit them.
        bound = size in (len(peers), fits[-1]) or -(-len(peers) // fits[-1]) > 1
        assert bound or pack_seconds(config, DIGITS, size, limits.profile) / size <= 1.6 * best


def test_nothing_to_plan():
    assert plan([], DIGITS, ROOMY) == []


def test_a_pack_fills_the_cache():
    """Launches cost as much as 16 networks, which fill the cache; beyond, a network costs twice as much."""
    (_, config), *_ = runs = [a_run(index, steps=10_000) for index in range(640)]
    memory = run_memory(config, DIGITS)
    each = memory.weights + memory.optimizer + memory.buffers
    work = update_work(config, DIGITS) / 1e10
    machine = MachineProfile(
        launch_seconds=16 * work / 5, rate=1e10, cache_bytes=16 * each, bandwidth=each / (2 * work)
    )

    packs = plan(runs, DIGITS, replace(ROOMY, profile=machine))

    assert {len(pack.run_indices) for pack in packs} == {16}


def test_where_starting_operations_is_all_that_costs_one_pack_is_as_fast_as_two():
    machine = MachineProfile(launch_seconds=1e-3, rate=1e15, cache_bytes=1 << 40, bandwidth=1e15)
    runs = [a_run(index, steps=1000) for index in range(640)]

    packs = plan(runs, DIGITS, replace(ROOMY, max_runs=1024, profile=machine))

    assert [len(pack.run_indices) for pack in packs] == [640]


def test_short_runs_stay_together():
    """Ten updates of a small network take less time than a handover, so more packs would not be faster."""
    packs = plan([a_run(index) for index in range(64)], DIGITS, ROOMY)

    assert [len(pack.run_indices) for pack in packs] == [64]


def test_long_runs_fill_all_slots():
    packs = plan(
        [a_run(index, width=256, steps=1000) for index in range(32)], DIGITS, replace(ROOMY, slots=8)
    )

    assert len(packs) >= 8
