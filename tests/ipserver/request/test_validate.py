"""All wrong fields of a request are named at once, with the allowed values; valid requests are accepted."""

import dataclasses
import math

import pytest
import ray

from ipcore import theory
from ipcore.catalogue import DatasetInfo
from ipcore.theory.presets import find_preset
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.request import parameterizations as parameterization_rules
from ipserver.request.convert import resource_request
from ipserver.request.grid import check_grid
from ipserver.request.limits import limits_with
from ipserver.request.problems import Problems
from ipserver.request.rules import capacity_warnings, loss_misfit
from ipserver.request.validate import check_create
from ipserver.store.records.cluster import CapacityReport, DatasetReport
from tests.ipserver.request.requests import CAPACITY, GOOD, GRID, changed, grid, spec, violations


def test_a_good_request_is_accepted():
    checked = check_create(changed(), limits_with(), CAPACITY)
    assert len(checked.runs) == 2 * 2 * 2 * 2 * 2 * 2
    assert checked.warnings == ()
    assert checked.run_memory_bytes > 4 * 32 * 32
    assert len(checked.spec_hash) == 64


def test_all_mistakes_are_named_at_once():
    request = changed(
        experiment_id="Has/Slash",
        request_id="not-a-uuid",
        experiment__display_name="x" * 201,
        experiment__priority=1001,
        experiment__labels={"Team": "theory"},
        experiment__spec__dataset="minst",
        experiment__spec__loss="mean",
        experiment__spec__bias="all",
        experiment__spec__optimizer={"name": "adagrad"},
        experiment__spec__steps=0,
        experiment__spec__record={"weights": "all"},
        experiment__spec__resources={"cpus": 0, "gpus": -1, "custom": {"tpu": 0, "GPU": 1}},
        experiment__spec__grid__widths=[0, -3, 2_000_000, 16, 16],
        experiment__spec__grid__seeds=[],
        experiment__spec__grid__activations=["rely"],
    )
    found = violations(request)
    spec_path = "experiment.spec"
    assert set(found) == {
        "experiment_id",
        "request_id",
        "experiment.display_name",
        "experiment.priority",
        "experiment.labels",
        f"{spec_path}.dataset",
        f"{spec_path}.loss",
        f"{spec_path}.bias",
        f"{spec_path}.optimizer.name",
        f"{spec_path}.steps",
        f"{spec_path}.record.weights",
        f"{spec_path}.resources.cpus",
        f"{spec_path}.resources.gpus",
        f'{spec_path}.resources.custom["tpu"]',
        f'{spec_path}.resources.custom["GPU"]',
        f"{GRID}.widths[0]",
        f"{GRID}.widths[1]",
        f"{GRID}.widths[2]",
        f"{GRID}.widths[4]",
        f"{GRID}.seeds",
        f"{GRID}.activations[0]",
    }
    assert "did you mean 'mnist'" in found[f"{spec_path}.dataset"]
    assert "did you mean 'relu'" in found[f"{GRID}.activations[0]"]
    assert "1 .. 1,048,576, not 2000000" in found[f"{GRID}.widths[2]"]
    assert "twice (also at [3])" in found[f"{GRID}.widths[4]"]


@pytest.mark.parametrize("text", ["a\0b", "two\nlines", "\x1b[31mred"])
def test_text_for_people_is_one_line_that_can_be_printed(text):
    found = violations(changed(experiment__display_name=text, experiment__labels={"note": text}))

    assert set(found) == {"experiment.display_name", 'experiment.labels["note"]'}
    assert all("cannot be printed" in message for message in found.values())


@pytest.mark.parametrize("axis", ["widths", "hidden_layers", "activations", "base_learning_rates", "seeds"])
def test_an_axis_may_be_neither_empty_nor_hold_a_value_twice(axis):
    assert "is empty" in violations(grid(**{axis: []}))[f"{GRID}.{axis}"]
    twice = GOOD["experiment"]["spec"]["grid"][axis][:1] * 2
    assert "twice" in violations(grid(**{axis: twice}))[f"{GRID}.{axis}[1]"]


@pytest.mark.parametrize("rate", [0.0, -0.1, "NaN", "Infinity", "-Infinity"])
def test_rates_are_finite_and_positive(rate):
    assert "above 0" in violations(grid(base_learning_rates=[0.1, rate]))[f"{GRID}.base_learning_rates[1]"]
    own = violations(grid(parameterizations__0__base_learning_rates=[rate]))
    assert set(own) == {f"{GRID}.parameterizations[0].base_learning_rates[0]"}


@pytest.mark.parametrize(
    ("entry", "told"), [("1/0", "denominator 0"), ("abc", "not an exponent"), ("", "not an")]
)
@pytest.mark.parametrize("name", ["a", "b", "c", "c_first_step"])
def test_exponents_that_are_none(name, entry, told):
    found = violations(grid(**{f"parameterizations__1__exponents__{name}": ["0", entry, "0"]}))
    assert set(found) == {f"{GRID}.parameterizations[1].exponents.{name}[1]"}
    assert told in found.popitem()[1]


def test_lists_of_the_wrong_length_name_the_depth():
    found = violations(
        grid(
            parameterizations__1__exponents={"a": ["0", "1"], "b": ["0"] * 5, "c": [], "c_first_step": ["x"]}
        )
    )
    path = f"{GRID}.parameterizations[1].exponents"
    assert set(found) == {
        f"{path}.a",
        f"{path}.b",
        f"{path}.c",
        f"{path}.c_first_step",
        f"{path}.c_first_step[0]",
    }
    assert "with 2 hidden layers it needs 3" in found[f"{path}.a"]
    # Five entries fit L = 4 but not L = 2, which the grid also has.
    assert "has 5 entries; with 2 hidden layers" in found[f"{path}.b"]
    five = {"a": ["0"] * 5, "b": ["0"] * 5, "c": ["0"] * 5}
    check_create(grid(parameterizations__1__exponents=five, hidden_layers=[4]), limits_with(), CAPACITY)


def test_a_parameterization_needs_a_scheme_and_a_label_of_its_own():
    found = violations(
        grid(
            parameterizations=[
                {},
                {"preset": "ip"},
                {"preset": "ip"},
                {"preset": "ip-lrr"},
                {"preset": "ip", "label": "No Spaces"},
                {"exponents": {"a": ["0"] * 3, "b": ["0"] * 3, "c": ["0"] * 3}},
            ]
        )
    )
    path = f"{GRID}.parameterizations"
    assert set(found) == {
        f"{path}[0]",
        f"{path}[2].label",
        f"{path}[3].preset",
        f"{path}[4].label",
        f"{path}[5].label",
    }
    assert "did you mean 'ip-llr'" in found[f"{path}[3].preset"]
    assert "required with explicit exponents" in found[f"{path}[5].label"]
    assert "at least one parameterization" in violations(grid(parameterizations=[]))[path]


def test_every_preset_trains_at_the_depths_it_is_defined_for():
    entries = [{"preset": name} for name in theory.PRESETS if name != "mfp"]
    check_create(grid(parameterizations=entries), limits_with(), CAPACITY)
    found = violations(grid(parameterizations=[{"preset": "mfp"}, {"preset": "up:3"}]))
    path = f"{GRID}.parameterizations"
    assert set(found) == {f"{path}[0].preset", f"{path}[1].preset"}
    assert "1 hidden layer, not 2" in found[f"{path}[0].preset"]
    check_create(grid(parameterizations=[{"preset": "mfp"}], hidden_layers=[1]), limits_with(), CAPACITY)
    check_create(grid(parameterizations=[{"preset": "up:1/4"}]), limits_with(), CAPACITY)


@pytest.mark.parametrize("name", ["readout_target", "cap"])
@pytest.mark.parametrize("value", [0, -1, "NaN"])
def test_calibration_targets_are_positive(name, value):
    found = violations(grid(parameterizations__0__calibration={name: value}))
    assert set(found) == {f"{GRID}.parameterizations[0].calibration.{name}"}


def rows(**lists):
    """Exponents that are 0 except for these lists."""
    return {"a": ["0"] * 3, "b": ["0"] * 3, "c": ["0"] * 3} | lists


# GOOD has the widths 16 = 2^4 and 32 = 2^5, at most 0.2 / 32 = 2^-7.3 as a rate, and 1e36 is 2^119.6.
@pytest.mark.parametrize(
    ("exponents", "wrong"),
    [
        (rows(c=["0", "-999999999", "0"]), {"c"}),
        (rows(c=["0", "-26", "0"]), {"c"}),
        (rows(c=["0", "-25", "0"]), set()),
        (rows(c=["0", "0", "0"], c_first_step=["-26", "0", "0"]), {"c_first_step"}),
        (rows(c=["0", "0", "30"]), {"c"}),
        (rows(a=["0", "-13", "0"], b=["0", "13", "0"], c=["0", "26", "0"]), set()),
        (rows(a=["0", "-13", "0"], b=["0", "13", "0"]), {"c"}),
        (rows(a=["0", "24", "0"], b=["0", "-24", "0"], c=["0", "-48", "0"]), {"a", "b"}),
        (rows(b=["24", "0", "0"]), {"b"}),
        (rows(a=["13", "0", "0"], b=["13", "0", "0"], c=["-26", "0", "0"]), {"b"}),
    ],
)
def test_scales_that_training_cannot_hold_are_refused(exponents, wrong):
    request = grid(parameterizations__1__exponents=exponents)
    if not wrong:
        check_create(request, limits_with(), CAPACITY)
        return
    found = violations(request)
    assert set(found) == {f"{GRID}.parameterizations[1].exponents.{name}" for name in wrong}
    assert all("beyond what training can hold (1e-36 .. 1e+36)" in message for message in found.values())


def test_scales_name_layer_depth_and_width():
    deep = violations(grid(hidden_layers=[2, 900], widths=[16, 64], parameterizations__0__preset="ip-llr"))
    message = deep[f"{GRID}.parameterizations[0].preset"]
    # IP-LLR: c_l(0) = -(L+2)/2 and a_l = 1 in hidden layers, so -c - 2a = 449; the first has (L+1)/2.
    assert "the rate of layer 1 with 900 hidden layers at step 0 is 0.003125 * 16^(901/2)" in message


def test_rates_and_caps_that_training_cannot_hold_are_refused():
    found = violations(grid(base_learning_rates=[0.1, 1e300, 1e-300]))
    assert set(found) == {f"{GRID}.base_learning_rates[1]", f"{GRID}.base_learning_rates[2]"}
    # A calibrated rate may be cap / 32 * 32^(-c - 2a), so the largest cap goes with -c - 2a = 1 and no more.
    entry = {"label": "mine", "calibration": {"cap": 1e36}}
    check_create(grid(parameterizations=[entry | {"exponents": rows(c=["-1"] * 3)}]), limits_with(), CAPACITY)
    found = violations(grid(parameterizations=[entry | {"exponents": rows(c=["-2"] * 3)}]))
    assert set(found) == {f"{GRID}.parameterizations[0].calibration.cap"}
    assert "layer 2 with 2 hidden layers is 3.125e+34 * 16^(2)" in found.popitem()[1]


def test_rates_may_be_left_out_if_every_parameterization_brings_its_own():
    own = {
        "parameterizations__0__base_learning_rates": [0.5],
        "parameterizations__1__base_learning_rates": [0.25, 2.0],
    }
    checked = check_create(grid(**own, base_learning_rates=[]), limits_with(), CAPACITY)
    assert len(checked.runs) == 2 * 2 * 2 * 3 * 2
    (warning,) = check_create(grid(**own), limits_with(), CAPACITY).warnings
    assert "not used" in warning


@pytest.mark.parametrize(
    "large",
    [
        {"parameterizations": [{"preset": "mup", "label": f"p{i}"} for i in range(1000)]},
        {"widths": list(range(1, 1001))},
        {"seeds": [], "widths": [0] * 100_000, "parameterizations": [{"preset": "up:1/3"}] * 20_001},
    ],
)
def test_grids_far_beyond_the_limit_are_refused_unexpanded(large, monkeypatch):
    built = []
    preset = find_preset("ip-llr")
    monkeypatch.setattr(parameterization_rules, "find_preset", lambda name: built.append(name) or preset)
    found = violations(grid(**{"hidden_layers": list(range(1, 1001))} | large))
    assert built == []
    assert all("one experiment may have 20,000" in text or "is empty" in text for text in found.values())


def test_a_preset_is_built_at_the_ends_of_the_depth_axis_alone(monkeypatch):
    built = []

    def counted(depth):
        built.append(depth)
        return theory.preset("mup", depth)

    preset = dataclasses.replace(find_preset("mup"), build=counted)
    monkeypatch.setattr(parameterization_rules, "find_preset", lambda _name: preset)
    check_grid(grid(hidden_layers=list(range(3, 400))).experiment.spec, GRID, limits_with(), Problems())
    assert {3, 399} <= set(built) <= {2, 3, 399}


def test_a_batch_must_fit_into_the_training_set():
    assert (
        "is more than the 1,437 training examples"
        in violations(spec(batch_size=1438))["experiment.spec.batch_size"]
    )
    check_create(spec(batch_size=1437), limits_with(), CAPACITY)
    assert "at least 1, not 0" in violations(spec(batch_size=0))["experiment.spec.batch_size"]


def test_a_loss_must_fit_the_labels():
    regression = DatasetInfo("curve", "", input_dim=1, classes=0, train_size=10, test_size=10)
    assert "real-valued targets" in loss_misfit("cross_entropy", regression)


def test_more_runs_than_the_limit():
    found = violations(grid(seeds=list(range(20_000))))
    assert "has 640,000 runs but one experiment may have 20,000" in found[GRID]
    exactly = {"widths": [8], "hidden_layers": [2], "activations": ["relu"], "base_learning_rates": [0.1]}
    one = [{"preset": "ip"}]
    many = check_create(
        grid(**exactly, parameterizations=one, seeds=list(range(20_000))), limits_with(), CAPACITY
    )
    assert len(many.runs) == 20_000
    assert GRID in violations(grid(**exactly, parameterizations=one, seeds=list(range(20_001))))


def test_memory_beyond_the_limit_comes_with_the_estimate():
    found = violations(grid(widths=[16, 60_000]))
    assert set(found) == {f"{GRID}.widths[1]"}
    message = found.popitem()[1]
    # One hidden matrix of 60,000^2 single-precision numbers is 13.4 GiB; gradients come on top.
    assert "with 2 hidden layers" in message
    assert "the limit is 16.0 GiB" in message
    assert float(message.partition("about ")[2].split()[0]) > 13.4
    both = violations(grid(widths=[60_000], base_learning_rates=[0.0]))
    assert set(both) == {f"{GRID}.widths[0]", f"{GRID}.base_learning_rates[0]"}


def test_recording():
    path = "experiment.spec.record"
    assert set(violations(spec(record={"weights": "every"}))) == {f"{path}.weights_interval"}
    assert "used only with" in violations(spec(record={"weights_interval": 5}))[f"{path}.weights_interval"]
    assert set(violations(spec(record={"metrics_interval": -1}))) == {f"{path}.metrics_interval"}
    assert set(violations(spec(evaluation_interval=-1))) == {"experiment.spec.evaluation_interval"}
    check_create(spec(record={"weights": "every", "weights_interval": 5}), limits_with(), CAPACITY)


@pytest.mark.parametrize("value", ["NaN", "Infinity", -1])
def test_resources_are_numbers(value):
    found = violations(spec(resources={"cpus": value, "gpus": value, "custom": {"tpu": value}}))
    path = "experiment.spec.resources"
    assert set(found) == {f"{path}.cpus", f"{path}.gpus", f'{path}.custom["tpu"]'}


def test_a_part_of_a_gpu_shares_one_and_two_and_a_half_are_none():
    assert "whole" in violations(spec(resources={"gpus": 2.5}))["experiment.spec.resources.gpus"]


@pytest.mark.parametrize("amount", [0.00001, 0.00015, 1.00001, 1e-300, 1e300, 0])
def test_resources_are_multiples_of_what_ray_counts(amount):
    path = "experiment.spec.resources"
    found = violations(spec(resources={"cpus": amount, "gpus": amount or 1e-5, "custom": {"tpu": amount}}))
    assert set(found) == {f"{path}.cpus", f"{path}.gpus", f'{path}.custom["tpu"]'}
    assert all("must be a multiple of 0.0001" in message for message in found.values())


@pytest.mark.parametrize(
    ("name", "amount", "right"),
    [
        ("node:10.0.0.1", 0.001, False),
        ("accelerator_type:H100", 0.001, False),
        ("two\nlines", 1, False),
        ("Memory", 1, False),
        ("HPU", 0.5, False),
        ("TPU", 3, False),
        ("TPU", 4, True),
        ("HPU", 2, True),
        ("NPU", 0.5, True),
        ("fast disk", 0.0001, True),
    ],
)
def test_custom_resources_are_those_that_ray_accepts(name, amount, right):
    request = spec(resources={"cpus": 0.0003, "gpus": 0.3333, "custom": {name: amount}})
    if not right:
        assert all("custom" in field for field in violations(request))
        return
    asked = resource_request(check_create(request, limits_with(), CAPACITY).spec)
    # Ray checks amounts without a cluster.
    ray.remote(object).options(num_cpus=asked.cpus, num_gpus=asked.gpus, resources=dict(asked.custom))


def test_labels():
    many = {f"k{i}": "" for i in range(33)}
    assert "33 labels" in violations(changed(experiment__labels=many))["experiment.labels"]
    long = violations(changed(experiment__labels={"key": "x" * 201}))
    assert set(long) == {'experiment.labels["key"]'}


@pytest.mark.parametrize("bad", ["a/b", "x" * 300, "-a", "A", "a-"])
def test_experiment_ids(bad):
    assert set(violations(changed(experiment_id=bad))) == {"experiment_id"}


def test_output_only_fields_are_refused():
    found = violations(
        changed(
            experiment__name="experiments/x",
            experiment__state="EXPERIMENT_STATE_RUNNING",
            experiment__sequence=3,
        )
    )
    assert set(found) == {"experiment.name", "experiment.state", "experiment.sequence"}


def test_an_empty_request_says_what_is_required():
    assert set(violations(pb.CreateExperimentRequest())) == {"experiment"}
    assert set(violations(changed(experiment={}))) == {"experiment.spec"}
    empty = violations(changed(experiment={"spec": {}}))
    assert {"experiment.spec.dataset", f"{GRID}.widths", f"{GRID}.parameterizations"} <= set(empty)
    assert "name a dataset: digits, mnist" in empty["experiment.spec.dataset"]


def test_a_dataset_that_is_not_there_is_refused_with_its_problem():
    problem = "train-images-idx3-ubyte is missing; set IPLAB_DATA to the folder that holds mnist/"
    report = CapacityReport({"cpus": 4.0}, (DatasetReport("mnist", problem),))
    assert violations(spec(dataset="mnist"), capacity=report) == {"experiment.spec.dataset": problem}


def test_what_is_not_known_is_accepted_with_a_warning():
    checked = check_create(changed(), limits_with(), None)
    assert checked.warnings == (), "these are stored, and it is known as soon as a dispatcher reports"
    (warning,) = capacity_warnings(checked.spec, None)
    assert "no dispatcher has reported yet" in warning


def test_resources_beyond_the_last_report_are_accepted_with_a_warning():
    asks = spec(resources={"cpus": 16, "gpus": 1, "custom": {"tpu": 2}})
    warnings = capacity_warnings(check_create(asks, limits_with(), CAPACITY).spec, CAPACITY)
    assert [warning.split(" when")[0] for warning in warnings] == [
        "a pack asks for cpus=16 but the cluster had 4",
        "a pack asks for gpus=1 but the cluster had 0",
        "a pack asks for tpu=2 but the cluster had 0",
    ]


def test_limits_are_the_services_own():
    small = limits_with(max_runs=63, max_width=16, max_hidden_layers=3, max_steps=10)
    found = violations(changed(), limits=small)
    assert set(found) == {"experiment.spec.steps", f"{GRID}.widths[1]", f"{GRID}.hidden_layers[1]", GRID}
    assert math.prod([2, 2, 2, 2, 2, 2]) == 64


def test_decimals_that_look_rounded_are_taken_exactly_and_said_so():
    entry = {"label": "mine", "exponents": {"a": ["0", "0.333", "1"], "b": ["0"] * 3, "c": ["0"] * 3}}
    request = changed(experiment__spec__grid__parameterizations=[entry])

    checked = check_create(request, limits_with(), CAPACITY)

    expected = "mine: exponent '0.333' is taken as exactly 333/1000; write '1/3' if that is meant"
    assert expected in checked.warnings
