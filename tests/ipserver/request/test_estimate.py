"""Rough times: the planner's packs, added up over the workers."""

import dataclasses

import pytest

from ipcore.planning.machine import MachineProfile, evaluation_work, update_work
from ipserver.request.convert import pack_config
from ipserver.request.estimate import estimate
from ipserver.request.limits import limits_with
from ipserver.request.validate import check_create
from ipserver.store.records.cluster import CapacityReport, PlannerReport
from tests.ipserver.request.requests import changed

# Nothing takes time but multiply-adds, a million of them a second.
SLOW = MachineProfile(0.0, 1e6, 1 << 40, 1e12)
ONE_SHAPE = {
    "experiment__spec__grid__widths": [16],
    "experiment__spec__grid__hidden_layers": [2],
    "experiment__spec__grid__activations": ["relu"],
}


def estimated(capacity, **changes):
    checked = check_create(changed(**ONE_SHAPE, **changes), limits_with(), capacity)
    return checked, estimate(checked.spec, checked.runs, checked.dataset, capacity)


def reported(cpus, profile=SLOW):
    return CapacityReport({"cpus": float(cpus)}, (), planner=PlannerReport(64, 1 << 30, profile))


def test_all_updates_and_evaluations_are_counted():
    checked, rough = estimated(reported(1))
    config = pack_config(checked.spec, checked.runs[0])
    each = 20 * update_work(config, checked.dataset)
    evaluations = config.steps // (config.evaluation_interval or config.steps) + 1
    each += evaluations * evaluation_work(config, checked.dataset)
    assert len(checked.runs) == 8
    assert rough.seconds == pytest.approx(8 * each / 1e6, rel=0.01), "a pack's start is 0.05 s"
    assert "1 worker, at the speed that a worker here has measured" in rough.basis


def test_two_workers_halve_it_and_cores_of_one_pack_too():
    _, one = estimated(reported(1))
    _, two = estimated(reported(2))
    assert two.seconds == pytest.approx(one.seconds / 2, rel=0.02)
    _, together = estimated(reported(2), experiment__spec__resources={"cpus": 2})
    assert together.seconds == pytest.approx(one.seconds / 2, rel=0.02)


def test_what_it_rests_on_is_said():
    assert "usual speed of a core" in estimated(reported(2, None))[1].basis
    nothing = estimated(None)[1]
    assert nothing.seconds > 0
    assert "no dispatcher has reported" in nothing.basis
    older = dataclasses.replace(reported(2), planner=None)
    assert estimated(older)[1].seconds > 0
