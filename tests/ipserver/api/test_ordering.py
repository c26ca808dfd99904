"""ListRuns in an order, over a real channel."""

import pytest

from iplab.v1 import run_service_pb2 as pb
from tests.ipserver.api.conftest import STEPS


@pytest.fixture
async def half_trained(api, trainer):
    """Runs 0 and 2 were trained to the end, 1 and 3 not at all."""
    await api.create("e")
    trainer.plan("e", (0, 2), (1, 3))
    trainer.commit(trainer.lease(), 1, STEPS)


async def listed(api, order_by, **request):
    """Indices of all runs, fetched by pages of one run."""
    found, token = [], ""
    while True:
        asked = pb.ListRunsRequest(
            parent="experiments/e", order_by=order_by, page_size=1, page_token=token, **request
        )
        page = await api.runs.ListRuns(asked)
        found += [run.index for run in page.runs]
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize(
    ("order_by", "indices"),
    [
        ("", [0, 1, 2, 3]),
        ("index desc", [3, 2, 1, 0]),
        ("last_train_loss desc", [2, 0, 1, 3]),
        ("last_train_loss asc, index desc", [0, 2, 3, 1]),
        (" Seed DESC , label", [3, 1, 2, 0]),
        ("state desc, lr, committed_steps", [0, 2, 1, 3]),
    ],
)
async def test_pages_follow_the_order(api, half_trained, order_by, indices):
    assert [run.parameterization for run in api.store.list_runs("e", limit=9)] == ["mup"] * 2 + ["ip-llr"] * 2
    assert await listed(api, order_by) == indices
    assert await listed(api, order_by, filter="index != 3") == [index for index in indices if index != 3]


async def test_a_token_holds_its_order(api, half_trained):
    first = pb.ListRunsRequest(parent="experiments/e", order_by="index desc", page_size=1)
    token = (await api.runs.ListRuns(first)).next_page_token
    for other in ("", "index", "index desc, seed"):
        asked = pb.ListRunsRequest(parent="experiments/e", order_by=other, page_token=token)
        assert "order" in (await api.fails(api.runs.ListRuns(asked))).violations["page_token"]


@pytest.mark.parametrize(
    ("order_by", "told"),
    [
        ("widht", "unknown field 'widht'; did you mean 'width'? There are: state, index"),
        ("width down", "expected FIELD or FIELD desc, not 'width down'"),
        ("width desc desc", "expected FIELD or FIELD desc"),
        ("width,,seed", "nothing between two commas"),
        ("width, m desc", "has 'width' twice"),
        ("labels.team", "unknown field 'labels.team'"),
    ],
)
async def test_a_wrong_order_is_named(api, half_trained, order_by, told):
    asked = pb.ListRunsRequest(parent="experiments/e", order_by=order_by)
    assert told in (await api.fails(api.runs.ListRuns(asked))).violations["order_by"]


async def test_an_order_has_few_keys(api, half_trained):
    many = ", ".join(["index", "seed", "width", "state", "pack", "activation", "hidden_layers"])
    values = ", ".join(f"{kind}_test_{what}" for kind in ("best", "final") for what in ("loss", "accuracy"))
    asked = pb.ListRunsRequest(parent="experiments/e", order_by=f"{many}, {values}")
    assert "at most 10" in (await api.fails(api.runs.ListRuns(asked))).violations["order_by"]
