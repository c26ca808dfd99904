"""Studies on a real service: fetching their numbers, taking over experiments, refusals."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

import iplab
from reproduction.examples import smaller
from reproduction.service import run
from reproduction.stationarity import STUDY
from reproduction.study import StudyError, key
from tests.iplab.conftest import Service

SPEC = smaller(STUDY.spec, steps=2, widths=[8, 16], hidden_layers=[2], activations=["relu"], seeds=[0, 1])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("home"))
    yield service
    service.close()


@pytest.fixture
def client(service: Service) -> Iterator[iplab.Client]:
    with iplab.connect(service.address) as client:
        yield client


def test_an_experiment_is_gone_on_with_and_its_points_are_fetched(service: Service, client: iplab.Client):
    client.create(SPEC, experiment_id=f"stationarity-{key(SPEC)[:8]}")
    service.train()
    seconds, runs = run(client, STUDY, SPEC)
    assert seconds >= 0
    assert [(r.parameterization, r.hidden_layers, r.width, r.seed) for r in runs] == [
        ("ip", 2, width, seed) for width in (8, 16) for seed in (0, 1)
    ]
    changes = {f"h_change/{layer}@{step}" for layer in (1, 2, 3) for step in (0, 1, 2)}
    for one in runs:
        assert set(one.values) == changes | {"test_loss", "test_accuracy"}
        assert one.values["h_change/1@0"] == 0
        assert one.values["h_change/1@1"] > 0


def test_an_experiment_with_the_same_spec_is_taken_over_whatever_the_order(
    service: Service, client: iplab.Client
):
    turned = smaller(SPEC, widths=[16, 8], seeds=[1, 0])
    client.create(turned, experiment_id="mine")
    service.train()
    _, runs = run(client, STUDY, SPEC, "mine")
    _, own = run(client, STUDY, SPEC)
    assert {(r.width, r.seed): r.values["h_change/3@2"] for r in runs} == {
        (r.width, r.seed): r.values["h_change/3@2"] for r in own
    }


def test_an_experiment_with_another_spec_is_refused(client: iplab.Client):
    other = copy.deepcopy(SPEC)
    other["spec"]["grid"]["base_learning_rates"] = [2]
    client.create(other, experiment_id="other")
    with pytest.raises(StudyError, match="another spec"):
        run(client, STUDY, SPEC, "other")


def test_an_experiment_that_was_cancelled_says_what_to_do(client: iplab.Client):
    spec = smaller(SPEC, seeds=[7])
    client.create(spec, experiment_id=f"stationarity-{key(spec)[:8]}").cancel()
    with pytest.raises(StudyError, match=r"CANCELLED.*delete"):
        run(client, STUDY, spec)
