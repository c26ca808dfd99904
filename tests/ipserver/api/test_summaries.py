"""SummarizeRuns: means over groups, and best rates."""

import grpc
import pytest

from iplab.v1 import run_service_pb2 as pb
from ipserver.store.states import RunState
from ipserver.store.summary import Summary

# Final test losses by parameterization, rate and seed; None: it diverged.
LOSSES = {
    ("mup", 0.1): (1.0, 3.0),
    ("mup", 0.2): (0.5, 0.7),
    ("mup", 0.4): (0.1, None),
    ("ip-llr", 0.1): (4.0, 2.0),
    ("ip-llr", 0.2): (None, None),
    ("ip-llr", 0.4): (9.0, 7.0),
}


@pytest.fixture
async def trained(api, trainer):
    """An experiment whose runs have ended with these losses."""
    await api.create("e", grid={"base_learning_rates": [0.1, 0.2, 0.4]})
    records = api.store.list_runs("e", limit=100)
    trainer.plan("e", tuple(range(len(records))))
    loss = {run.index: LOSSES[run.parameterization, run.base_learning_rate][run.seed] for run in records}
    pack = trainer.lease()
    summaries = {
        index: Summary(diverged_step=3, last_train_loss=77.0)
        if value is None
        else Summary(final_test_loss=value, final_test_accuracy=1 / (1 + value))
        for index, value in loss.items()
    }
    ended = {
        index: RunState.DIVERGED if value is None else RunState.SUCCEEDED for index, value in loss.items()
    }
    trainer.commit(pack, 1, 20, ended=ended, summaries=summaries)
    return api


def request(**changes):
    return pb.SummarizeRunsRequest(parent="experiments/e", **changes)


def told(group, value="final_test_loss"):
    found = {one.name: one for one in group.values}.get(value)
    deviation = round(found.deviation, 4) if found and found.HasField("deviation") else None
    return (
        group.parameterization,
        group.base_learning_rate,
        found and (round(found.mean, 4), deviation, found.count),
    )


async def test_means_over_seeds(trained):
    answer = await trained.runs.SummarizeRuns(request())
    # Sample deviation of two values: their distance over the root of 2.
    assert [told(group) for group in answer.groups] == [
        ("mup", 0.1, (2.0, 1.4142, 2)),
        ("mup", 0.2, (0.6, 0.1414, 2)),
        ("mup", 0.4, (0.1, None, 1)),
        ("ip-llr", 0.1, (3.0, 1.4142, 2)),
        ("ip-llr", 0.2, None),
        ("ip-llr", 0.4, (8.0, 1.4142, 2)),
    ]
    assert [(group.runs, group.diverged, group.unfinished) for group in answer.groups][2] == (2, 1, 0)
    first = answer.groups[0]
    assert (first.hidden_layers, first.width, first.activation) == (2, 16, "relu")
    assert not first.HasField("seed")
    assert (
        first.predicted_regime
        == (await trained.runs.GetRun(pb.GetRunRequest(name="experiments/e/runs/r00000"))).predicted_regime
    )
    # What diverged is in no mean, not even of what was measured before.
    assert "last_train_loss" not in {one.name for group in answer.groups for one in group.values}


async def test_other_groups_other_runs_other_values(trained):
    answer = await trained.runs.SummarizeRuns(
        request(group_by=["seed"], filter="parameterization = mup AND rate < 0.3", values=["final_test_loss"])
    )
    assert [(group.seed, group.runs) for group in answer.groups] == [(0, 2), (1, 2)]
    assert [[one.name for one in group.values] for group in answer.groups] == [["final_test_loss"]] * 2
    assert [group.values[0].mean for group in answer.groups] == [0.75, 1.85]
    assert not answer.groups[0].HasField("parameterization")
    nothing = await trained.runs.SummarizeRuns(request(filter="width = 17"))
    assert not nothing.groups


async def test_the_best_rate_of_each_group(trained):
    answer = await trained.runs.SummarizeRuns(request(best_rate=pb.BestRate()))
    assert answer.best_rate_value == "final_test_loss"
    # At 0.4 a run of mup diverged, which puts the smallest mean out.
    assert [told(group) for group in answer.groups] == [
        ("mup", 0.2, (0.6, 0.1414, 2)),
        ("ip-llr", 0.1, (3.0, 1.4142, 2)),
    ]
    assert [(group.rates, group.smallest_rate, group.largest_rate) for group in answer.groups] == [
        (3, 0.1, 0.4)
    ] * 2
    worst = await trained.runs.SummarizeRuns(
        request(best_rate=pb.BestRate(value="final_test_loss", largest=True))
    )
    assert [told(group)[:2] for group in worst.groups] == [("mup", 0.1), ("ip-llr", 0.4)]
    most = await trained.runs.SummarizeRuns(
        request(best_rate=pb.BestRate(value="final_test_accuracy", largest=True), values=["final_test_loss"])
    )
    assert [told(group)[:2] for group in most.groups] == [("mup", 0.2), ("ip-llr", 0.1)]
    assert most.best_rate_value == "final_test_accuracy"
    none = await trained.runs.SummarizeRuns(
        request(best_rate=pb.BestRate(), filter="parameterization = ip-llr AND rate = 0.2")
    )
    assert [(group.HasField("base_learning_rate"), group.runs, group.rates) for group in none.groups] == [
        (False, 0, 1)
    ]


async def test_pages_make_the_whole(trained):
    whole = list((await trained.runs.SummarizeRuns(request())).groups)
    found, token = [], ""
    while True:
        page = await trained.runs.SummarizeRuns(request(page_size=4, page_token=token))
        found += page.groups
        if not (token := page.next_page_token):
            break
    assert found == whole
    page = await trained.runs.SummarizeRuns(request(page_size=4))
    other = request(page_size=4, page_token=page.next_page_token, best_rate=pb.BestRate())
    assert "page_token" in (await trained.fails(trained.runs.SummarizeRuns(other))).violations


async def test_wrong_names_are_named(api):
    await api.create("e")
    failed = await api.fails(
        api.runs.SummarizeRuns(request(group_by=["width", "loss", "width"], values=["final_test_loss", "x"]))
    )
    assert set(failed.violations) == {"group_by[1]", "group_by[2]", "values[1]"}
    failed = await api.fails(
        api.runs.SummarizeRuns(request(group_by=["seed"], best_rate=pb.BestRate(value="width")))
    )
    assert set(failed.violations) == {"group_by[0]", "best_rate.value"}
    absent = pb.SummarizeRunsRequest(parent="experiments/z")
    assert (await api.fails(api.runs.SummarizeRuns(absent))).code is grpc.StatusCode.NOT_FOUND
