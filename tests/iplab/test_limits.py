"""Runs of infinite width through a real service: submitted, trained, listed, filtered, drawn."""

import math

import pytest

import iplab
from ipcore.figures import PictureError
from tests.ipcore.figures.looking import faults

SPEC = {
    "spec": {
        "dataset": "digits",
        "batch_size": 16,
        "steps": 4,
        "evaluation_interval": 2,
        "grid": {
            "parameterizations": [{"preset": "hpz"}, {"preset": "ntk"}],
            "widths": [8, 16, 32, math.inf],
            "hidden_layers": [2],
            "activations": ["relu"],
            "base_learning_rates": [0.1],
            "seeds": [0, 1],
        },
        "infinite_width": {"particles": 2048, "replicas": 2},
        "record": {"weights": "none", "metrics_interval": 1},
    }
}


@pytest.fixture(scope="module")
def limits(service, client):
    experiment = client.create(SPEC, experiment_id="limits")
    service.train()
    return experiment.refresh()


def test_a_limit_is_a_run_like_any_other(limits):
    assert str(limits.state) == "SUCCEEDED"
    assert [run.width for run in limits.runs()][::4] == [8, 16, 32, math.inf]
    assert [row.width for row in limits.summary()][:4] == [8, 16, 32, math.inf]


@pytest.mark.parametrize(("filter_", "count"), [("width = inf", 4), ("width < inf", 12), ("width >= 16", 12)])
def test_filters_know_infinity(limits, filter_, count):
    assert len(list(limits.runs(filter_))) == count


def test_the_particles_own_error_is_a_metric_and_a_result(limits):
    """A kernel has none, and neither has a finite network."""
    hpz, _, ntk, _ = limits.runs("width = inf")
    steps, values = limits.metrics("width = inf", ["limit_error"]).series(hpz.index, "limit_error")
    assert steps.tolist() == [1, 2, 4]  # after update 1 outputs are recorded; f_0 = 0 has no relative error
    assert hpz.final_limit_error == values[-1] > 0
    assert ntk.final_limit_error is None
    assert next(iter(limits.runs("width = 8"))).final_limit_error is None


def test_frames_and_figures_show_infinity(limits):
    frame = limits.metrics().to_pandas()
    assert set(frame["width"]) == {8, 16, 32, math.inf}
    drawn = limits.metrics(names=["train_loss"]).plot("train_loss", by="width")
    for panel in drawn.panels:
        roles = {course.name: str(course.role) for course in panel.courses}
        assert roles == {f"m = {m}": "ordered" for m in (8, 16, 32)} | {"m = ∞": "limit"}
    assert faults(drawn) == []


def test_the_limit_is_the_black_curve_over_the_rates(service, client):
    grid = SPEC["spec"]["grid"] | {
        "parameterizations": [{"preset": "hpz"}],
        "widths": [8, 16, math.inf],
        "base_learning_rates": [0.1, 0.2],
    }
    experiment = client.create({"spec": SPEC["spec"] | {"grid": grid}}, experiment_id="over-rates")
    service.train()
    drawn = experiment.refresh().plot("rates")
    assert faults(drawn) == []
    (panel,) = drawn.panels
    assert [(curve.name, curve.limit) for curve in panel.curves] == [
        ("m = 8", False), ("m = 16", False), ("m = ∞", True),
    ]  # fmt: skip
    at_inf = [run.final_test_loss for run in experiment.runs("width = inf AND base_learning_rate = 0.2")]
    assert panel.curves[-1].points[-1].value == pytest.approx(math.sqrt(at_inf[0] * at_inf[1]))


def test_the_report_says_how_infinite_the_networks_are(limits):
    report = limits.check()
    first, last = (check for check in report.checks if check.kind == "LIMIT" and of(check) == "hpz")
    assert (first.step, last.step) == (1, 4)
    assert last.widths == (8, 16, 32)
    assert last.name == "distance to the limit"
    points = limits.metrics("parameterization = hpz", ["output_sketch/*"], last.step)

    def sketch(run):
        return [points.series(run.index, f"output_sketch/{k}")[1][0] for k in range(129)]

    at_inf = {run.seed: run for run in limits.runs("width = inf AND parameterization = hpz")}
    unit = own = off = 0.0
    for run in limits.runs("width = 32 AND parameterization = hpz"):
        limit = at_inf[run.seed]
        own += limit.final_limit_error**2 * sketch(limit)[0]
        unit += sketch(limit)[0]
        off += sum((a - b) ** 2 for a, b in zip(sketch(run)[1:], sketch(limit)[1:], strict=True))
    assert last.values[-1] == pytest.approx(math.sqrt((off - own) / (unit - own)))
    squares = [value**2 for value in last.values]
    parts = [v + b for v, b in zip(last.variances, last.biases, strict=True)]
    # Both are unbiased: with two seeds D^2 = V / 2 + |mean|^2 is their sum exactly.
    assert parts == pytest.approx(squares)
    assert "the outputs on the test set are" in last.sentence
    assert "own error of f" in last.sentence
    picture = limits.plot("limit")
    assert faults(picture) == []
    assert "2 seeds" in picture.caption
    assert [panel.title for panel in picture.panels] == ["after 1 update", "after 4 updates"]


def of(check):
    return check.subject.parameterization


def test_networks_of_kernels_are_compared_with_the_machine_of_their_own_start(limits):
    """The metric that each network records is the distance that the report has, seed by seed."""
    _, check = (check for check in limits.check().checks if check.kind == "LIMIT" and of(check) == "ntk")
    assert (check.step, check.widths) == (4, (8, 16, 32))
    points = limits.metrics(
        "width = 32 AND parameterization = ntk", ["paired_distance", "paired_sketch/0"], 4
    )
    runs = list(limits.runs("width = 32 AND parameterization = ntk"))
    moved = [points.series(run.index, "paired_sketch/0")[1][-1] for run in runs]
    distances = [points.series(run.index, "paired_distance")[1][-1] for run in runs]
    exact = sum(d**2 * u for d, u in zip(distances, moved, strict=True)) / sum(moved)
    assert check.values[-1] == pytest.approx(math.sqrt(exact), rel=0.15)  # by 128 sums of 3,600 outputs
    assert check.values[-1] < check.values[0]
    assert "that start from their own f_0" in check.sentence
    # A metric like any other, which the sums are not.
    assert "paired_distance" in limits.metrics().names
    assert not any(name.startswith("paired_sketch") for name in limits.metrics().names)


def test_of_mup_a_far_wider_network_stands_for_the_limit(service, client):
    grid = SPEC["spec"]["grid"] | {
        "parameterizations": [{"preset": "mup"}, {"preset": "sp"}],
        "widths": [8, 16, 32, 512],
    }
    spec = {name: part for name, part in SPEC["spec"].items() if name != "infinite_width"}
    record = {"weights": "none", "probes": {"quantities": ["outputs"], "steps": [4]}}
    more = {"grid": grid, "record": record, "deferred_weights": "cheaper"}
    experiment = client.create({"spec": spec | more}, experiment_id="far-wider")
    service.train()
    report = experiment.refresh().check()
    (check,) = (check for check in report.checks if check.kind == "LIMIT")
    assert (check.subject.parameterization, check.step, check.widths) == ("mup", 4, (8, 16, 32))
    assert "from those of width 512, used in place of infinite width" in check.sentence
    assert any(note.startswith("sp, ") and "distance to the limit: " in note for note in report.notes)


def test_of_two_widths_there_are_distances_but_no_figure(service, client):
    grid = SPEC["spec"]["grid"] | {"parameterizations": [{"preset": "mup"}], "widths": [8, 16, 256]}
    spec = {name: part for name, part in SPEC["spec"].items() if name != "infinite_width"}
    record = {"weights": "none", "probes": {"quantities": ["outputs"], "steps": [4]}}
    experiment = client.create({"spec": spec | {"grid": grid, "record": record}}, experiment_id="two-widths")
    service.train()
    report = experiment.refresh().check()
    (said,) = report.measurements
    assert said.startswith("mup, ")
    assert "at width 16 from those of width 256, used in place of infinite width" in said
    assert not any("distance to the limit" in note for note in report.notes), "said once"
    with pytest.raises(PictureError, match="'limit' to draw: that needs inf, or a width"):
        experiment.plot("limit")


def test_the_needs_of_every_figure_are_known():
    from iplab.plotting import _NEEDS, KINDS

    assert set(_NEEDS) == set(KINDS) - {"rates", "curves"}


def test_outputs_are_recorded_but_shown_only_if_asked_for(limits):
    assert limits.spec.record.probes.quantities == ["outputs", "paired_outputs"]
    assert not any(name.startswith("output_sketch") for name in limits.metrics().names)
    sketches = limits.metrics("width = inf", ["output_sketch/*"])
    assert len(sketches.names) == 129
    hpz, *_ = limits.runs("width = inf")
    steps, values = sketches.series(hpz.index, "output_sketch/0")
    assert steps.tolist() == [1, 4]
    assert all(values > 0)


def test_a_limit_that_there_is_not_is_refused_in_the_files_words(client, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "spec:\n  dataset: digits\n  batch_size: 16\n  steps: 4\n  record: {weights: none}\n  grid:\n"
        "    parameterizations: [{preset: ip-llr}]\n    widths: [8, inf]\n    hidden_layers: [2]\n"
        "    activations: [relu, tanh]\n    base_learning_rates: [0.1]\n    seeds: [0]\n"
    )
    with pytest.raises(iplab.SpecError, match=r"line 10.*1-homogeneous"):
        client.create(path)
