"""The plan of packs: every run once, equal shapes together, memory and size respected."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ipcore.catalogue import DATASETS
from ipcore.config import PackConfig
from ipserver.dispatch.planner import PlanLimits, plan, step_cost
from ipserver.states import RunState
from ipserver.store.records import RunRecord, Summary

CONFIG = PackConfig("digits", hidden_layers=2, width=64, activation="relu", batch_size=32, steps=10)
DIGITS = DATASETS["digits"]
ROOMY = PlanLimits(slots=2, max_runs=64, max_bytes=1 << 34)


def a_run(index: int, width: int = 64, activation: str = "relu", hidden_layers: int = 2):
    config = replace(CONFIG, width=width, activation=activation, hidden_layers=hidden_layers)
    run = RunRecord(
        "e", index, "ip", hidden_layers, width, activation, 0.1, index, RunState.QUEUED, "", 0, 10, Summary(),
        (), None, None, None, "",
    )  # fmt: skip
    return run, config


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
def test_costly_packs_come_first(runs, limits):
    costs = [
        step_cost(runs[pack.run_indices[0]][1], DIGITS) * len(pack.run_indices)
        for pack in plan(runs, DIGITS, limits)
    ]
    assert costs == sorted(costs, reverse=True)


def test_nothing_to_plan():
    assert plan([], DIGITS, ROOMY) == []


def test_one_shape_fills_both_slots():
    packs = plan([a_run(index) for index in range(64)], DIGITS, ROOMY)

    assert [len(pack.run_indices) for pack in packs] == [16, 16, 16, 16]


def test_a_few_runs_stay_together():
    packs = plan([a_run(index) for index in range(4)], DIGITS, ROOMY)

    assert [pack.run_indices for pack in packs] == [(0, 1, 2, 3)]


def test_cost_counts_the_matmuls_of_a_step():
    # 32 examples; layer 1 (64x64) forward and weight gradient; layer 2 (64x64) and readout (64x10) all three.
    assert step_cost(CONFIG, DIGITS) == 32 * (2 * 64 * 64 + 3 * (64 * 64 + 64 * 10))
