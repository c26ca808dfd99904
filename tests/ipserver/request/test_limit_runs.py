"""Infinite width and deferred weights in requests: what is accepted, refused, planned and foretold."""

import re

import pytest
from google.protobuf import json_format

from ipcore.catalogue import DATASETS
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.limits.cost import deferring_width
from ipcore.planning.machine import DEFAULT_GPU
from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.forward.params import run_params
from ipserver.request.convert import pack_config
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.estimate import estimate
from ipserver.request.expand import expand
from ipserver.request.limit_runs import cost_of
from ipserver.request.limits import limits_with
from ipserver.request.planner import PlanLimits, plan
from ipserver.request.stored import stored_spec
from ipserver.request.validate import check_create
from tests.ipserver.request.requests import CAPACITY, GRID, changed, violations

DIGITS = DATASETS["digits"]
SPEC = "experiment__spec__"


def limit(preset="hpz", **more):
    """A request with one parameterization at widths 16, 32 and infinity."""
    changes = {
        "grid__parameterizations": [{"preset": preset}],
        "grid__infinite_width": True,
        "grid__hidden_layers": [2],
        "grid__activations": ["relu"],
        "record": {"weights": "none"},
        "infinite_width": {"particles": 512, "replicas": 3},
    }
    return changed(**{SPEC + name: value for name, value in (changes | more).items() if value is not None})


def accepted(request):
    return check_create(request, limits_with(), CAPACITY)


def refused(request, **limits):
    return violations(request, limits_with(**limits))


def test_infinity_is_the_last_width():
    runs = accepted(limit()).runs
    assert [run.width for run in runs[::4]] == [16, 32, INFINITE_WIDTH]
    config = pack_config(accepted(limit()).spec, runs[-1])
    assert (config.infinite_width, config.width, config.replicas) == (True, 512, 3)
    assert not pack_config(accepted(limit()).spec, runs[0]).infinite_width


def test_outputs_are_recorded_beside_a_limit_unless_other_probes_are_asked_for():
    probes = accepted(limit(steps=100)).spec.record.probes
    assert (probes.quantities, probes.steps, probes.interval) == (["outputs"], [1, 10, 100], 0)
    assert not accepted(changed()).spec.record.HasField("probes")
    own = {"weights": "none", "probes": {"quantities": ["outputs"], "interval": 20}}
    assert accepted(limit(record=own, steps=100)).spec.record.probes.steps == []
    deferred = {"grid__infinite_width": None, "infinite_width": None, "deferred_weights": "always"}
    assert accepted(limit("mup", **deferred, record=own)).spec.record.probes.quantities == ["outputs"]


def test_networks_of_kernels_are_recorded_beside_machines_of_their_own_start():
    both = limit(grid__parameterizations=[{"preset": "ntk"}, {"preset": "hpz"}])
    assert accepted(both).spec.record.probes.quantities == ["outputs", "paired_outputs"]
    assert accepted(limit("ntk", grid__widths=[])).spec.record.probes.quantities == ["outputs"]
    asked = {"weights": "none", "probes": {"quantities": ["paired_outputs"], "steps": [4]}}
    finite = {"grid__infinite_width": None, "infinite_width": None, "record": asked}
    alone = accepted(limit("ntk", **finite))
    without = accepted(limit("ntk", **finite | {"record": {"weights": "none"}}))
    assert alone.run_memory_bytes > without.run_memory_bytes
    for wrong in (limit("hpz", **finite), limit("ntk", **finite, deferred_weights="always")):
        found = refused(wrong)["experiment.spec.record.probes.quantities[0]"]
        assert "there are none in this grid" in found
    some = limit("ntk", **finite, deferred_weights="cheaper", deferred_width=32)
    assert any("width 32 has deferred weights, of which" in text for text in accepted(some).warnings)


def test_infinity_may_be_the_only_width():
    checked = accepted(limit(grid__widths=[], infinite_width=None))
    assert {run.width for run in checked.runs} == {INFINITE_WIDTH}
    config = pack_config(checked.spec, checked.runs[0])
    assert (config.width, config.replicas) == (4096, 4)


@pytest.mark.parametrize("field", ["infinite width", "deferred weights", ""])
def test_networks_without_matrices_keep_no_weights_unless_asked(field):
    spec = ExperimentSpec(deferred_weights="always" if field == "deferred weights" else "")
    spec.grid.infinite_width = field == "infinite width"
    assert with_defaults(spec).record.weights == ("none" if field else "final")
    spec.record.weights = "every"
    assert with_defaults(spec).record.weights == "every"


def test_specs_without_it_keep_their_hash():
    """The bytes of a spec of before these fields existed, and its hash."""
    filled = with_defaults(changed().experiment.spec)
    assert not {"infinite_width", "deferred_weights"} & {field.name for field, _ in filled.ListFields()}
    assert not filled.grid.infinite_width
    assert spec_hash(ExperimentSpec.FromString(filled.SerializeToString())) == spec_hash(filled)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"preset": "mup", "optimizer": {"name": "adam"}}, "optimizer.name", "adam no limit is computed"),
        (
            {"preset": "ip-llr", "grid__activations": ["relu", "tanh"]},
            "grid.activations[1]",
            "1-homogeneous activations alone .* hpz has the limit",
        ),
        ({"record": {"weights": "final"}}, "record.weights", "no matrices to keep"),
        (
            {"record": {"weights": "none", "probes": {"quantities": ["coordinates"], "steps": [1]}}},
            "record.probes",
            "no matrices are held",
        ),
        ({"preset": "ip", "grid__hidden_layers": [3]}, "grid.parameterizations[0]", "constant: f stays 0"),
        ({"preset": "mup"}, "grid.parameterizations[0]", "deferred weights"),
        (
            {"preset": "ntk", "optimizer": {"name": "sgd", "weight_decay": 0.1}},
            "optimizer.weight_decay",
            "kernel",
        ),
        (
            {"grid__parameterizations": [{"preset": "hpz"}, {"preset": "ntk", "calibration": {}}]},
            "grid.parameterizations[1].calibration",
            "grow with the width",
        ),
        ({"grid__infinite_width": False}, "infinite_width", "only with inf"),
        ({"infinite_width": {"particles": 512, "replicas": 2000}}, "infinite_width.replicas", "1,024"),
    ],
)  # fmt: skip
def test_what_has_no_limit_is_refused_by_name(changes, field, said):
    found = refused(limit(**changes))
    assert set(found) == {f"experiment.spec.{field}"}
    assert re.search(said, found[f"experiment.spec.{field}"])


def test_too_many_examples_for_the_memory_are_refused_with_what_fits():
    request = limit(steps=4000, infinite_width={"particles": 200_000})
    text = refused(request, max_run_memory_bytes=4 << 30)["experiment.spec.infinite_width.particles"]
    assert "4,000 updates of 32" in text
    assert "4.0 GiB are there" in text
    assert "particles (width)" in text and "would fit" in text


def test_deferred_weights_where_they_are_cheaper():
    request = limit(
        "mup",
        grid__infinite_width=None,
        infinite_width=None,
        grid__widths=[1024, 8192],
        deferred_weights="cheaper",
    )
    checked = accepted(request)
    assert [pack_config(checked.spec, run).deferred for run in checked.runs[::4]] == [False, True]
    assert json_format.MessageToDict(checked.spec)["deferredWeights"] == "cheaper"


def test_an_experiment_stores_from_which_width_weights_are_deferred():
    """A later rule changes no stored experiment, and the width may be given."""
    wide = {"grid__infinite_width": None, "infinite_width": None, "grid__widths": [1024, 2048]}
    own = accepted(limit("mup", **wide, deferred_weights="cheaper"))
    n = own.spec.steps * own.spec.batch_size
    assert own.spec.deferred_width == deferring_width(n, gpu=False)
    given = accepted(limit("mup", **wide, deferred_weights="cheaper", deferred_width=2048))
    assert [pack_config(given.spec, run).deferred for run in given.runs[::4]] == [False, True]
    before = type(own.spec)()
    before.CopyFrom(own.spec)
    before.ClearField("deferred_width")
    assert stored_spec(before.SerializeToString()).deferred_width == 6 * n + 1


def test_the_width_from_which_weights_are_deferred_needs_a_choice():
    found = refused(limit(deferred_width=512))["experiment.spec.deferred_width"]
    assert "deferred_weights: cheaper" in found


def test_deferred_weights_take_a_width_that_dense_training_cannot():
    wide = {"grid__infinite_width": None, "infinite_width": None, "grid__widths": [100_000]}
    dense = refused(limit("mup", **wide))
    assert "deferred_weights: cheaper" in dense[f"{GRID}.widths[0]"]
    deferred = limit("mup", **wide, deferred_weights="always")
    assert check_create(deferred, limits_with(), CAPACITY).run_memory_bytes < 8 << 30
    far = limit("mup", **wide | {"grid__widths": [4_000_000]}, deferred_weights="always")
    assert "would fit" in refused(far, max_width=5_000_000)[f"{GRID}.widths[0]"]


@pytest.mark.parametrize(("asked", "said"), [("yes", "cheaper"), ("never", "always")])
def test_deferred_weights_are_cheaper_or_always(asked, said):
    assert said in refused(limit(deferred_weights=asked))["experiment.spec.deferred_weights"]


def test_adam_cannot_defer_its_weights():
    request = limit(
        "mup",
        grid__infinite_width=None,
        infinite_width=None,
        deferred_weights="always",
        optimizer={"name": "adam"},
    )
    assert "adam" in refused(request)["experiment.spec.optimizer.name"]


def test_limits_are_planned_by_their_own_cost():
    """A pack of limits holds what all of them need, and fits; each run is in one pack."""
    checked = accepted(limit(grid__seeds=list(range(8)), infinite_width={"particles": 4096}))
    costs = cost_of(checked.spec, DIGITS)
    one = costs(checked.runs[-1])
    assert costs(checked.runs[0]) is None
    most = int(3.5 * one.memory_bytes)
    packs = plan(
        [(run, pack_config(checked.spec, run)) for run in checked.runs],
        DIGITS,
        PlanLimits(1, 64, most),
        0,
        costs,
    )
    ours = [pack for pack in packs if pack.width == INFINITE_WIDTH]
    assert sorted(i for pack in packs for i in pack.run_indices) == list(range(len(checked.runs)))
    assert all(one.memory_bytes * len(pack.run_indices) <= pack.memory_bytes <= most for pack in ours)


def test_limits_may_ask_for_a_gpu_and_are_planned_for_its_memory():
    """As many in a pack as the device holds, whatever packs on the CPU may take."""
    checked = accepted(limit(resources={"cpus": 1, "gpus": 1}, infinite_width={"particles": 4096}))
    costs, configs = cost_of(checked.spec, DIGITS), [pack_config(checked.spec, run) for run in checked.runs]
    one = costs(checked.runs[-1]).memory_bytes
    for most in (2, 4):
        limits = PlanLimits(1, 64, int((most + 0.5) * one), DEFAULT_GPU)
        packs = plan(list(zip(checked.runs, configs, strict=True)), DIGITS, limits, 0, costs)
        sizes = [len(pack.run_indices) for pack in packs if pack.width == INFINITE_WIDTH]
        assert sum(sizes) == 4 and max(sizes) <= most
    assert "a GPU's data sheet" in estimate(checked.spec, checked.runs, DIGITS, None).basis


def test_the_time_of_limits_grows_with_the_particles():
    def seconds(particles):
        checked = accepted(limit(grid__widths=[], infinite_width={"particles": particles}))
        return estimate(checked.spec, checked.runs, DIGITS, None).seconds

    assert seconds(65_536) > 8 * seconds(4096)


def test_mlflow_and_notes_say_inf():
    checked = accepted(
        limit(grid__activations=["tanh"], grid__hidden_layers=[3], infinite_width={"replicas": 1})
    )
    params = run_params(checked.spec, checked.runs[-1])
    assert (params["width"], params["particles"], params["replicas"]) == ("inf", "4096", "1")
    assert any("tanh is odd" in text and "width inf" in text for text in checked.warnings)
    assert any("one replica" in text for text in checked.warnings)
    assert len(expand(checked.spec)) == len(checked.runs)
