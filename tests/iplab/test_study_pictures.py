"""Pictures of studies, and networks beside their limits."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from iplab.results.states import StudyVerdict
from iplab.studies.pictures import picture_of, rate_picture
from tests.iplab.asking import driven
from tests.ipserver.studies.cases import BASE


def test_rates_are_drawn_where_they_were_tried(service, client, tmp_path):
    base = BASE | {"steps": 5}
    study = client.study("rate-transfer", {"spec": base}, budget="80 runs", study_id="drift")
    with driven(service):
        study.wait(progress=False, timeout=300)
    assert study.verdict is StudyVerdict.UNDECIDED
    picture = rate_picture(study)
    (panel,) = picture.panels
    assert panel.title == "ntk (relu, 2 hidden layers)"
    assert panel.curves[0].name == "m = 8"
    assert len(panel.curves[0].points) >= 3
    assert picture.save(tmp_path / "rates.png").stat().st_size > 1000
    axes = Figure().subplots()
    assert study.plot(ax=axes).placed
    assert axes.get_ylabel() == "final test loss"


def test_networks_are_held_against_the_limits_of_their_seeds(service, client, tmp_path):
    spec = {
        **BASE,
        "infinite_width": {"particles": 2048, "replicas": 2},
        "grid": {**BASE["grid"], "parameterizations": [{"preset": "ip-llr"}]},
    }
    asked = client.study("infinite-width", {"spec": spec}, budget="100 runs", tolerance=100.0, study_id="far")
    with driven(service):
        study = asked.wait(timeout=300)
    assert study.verdict is StudyVerdict.NO_PREDICTION, study.sentence
    assert "At width 32 the outputs of ip-llr (relu, 2 hidden layers) on the test set are" in study.sentence
    assert "of its square is bias" in study.sentence
    # One experiment a width, each with the same seeds: a limit sees the batches of its seed.
    runs, errors = {}, {}
    for experiment in study.trained():
        points = experiment.metrics(names=["output_sketch/*"])
        for run in experiment.runs():
            sums = [points.series(run.index, f"output_sketch/{k}")[1] for k in range(129)]
            assert [len(values) for values in sums] == [1] * 129
            runs[run.width, run.seed] = [values[0] for values in sums]
            errors[run.width, run.seed] = run.final_limit_error
    assert sorted(runs) == [(width, seed) for width in (8, 16, 32, math.inf) for seed in range(4)]
    off = [
        sum((a - b) ** 2 for a, b in zip(runs[32, s][1:], runs[math.inf, s][1:], strict=True))
        for s in range(4)
    ]
    units = [runs[math.inf, seed][0] for seed in range(4)]
    own = [errors[math.inf, seed] ** 2 * units[seed] for seed in range(4)]
    distance = math.sqrt((sum(off) - sum(own)) / (sum(units) - sum(own)))
    cell, needed = study.answers[0].cells
    assert cell.low < distance < cell.high
    assert needed.unit == "width"
    picture = picture_of(study)
    drawn = {
        row["width"]: row["value"] for row in picture.rows() if row["series"] == str(study.answers[0].subject)
    }
    assert drawn[32] == pytest.approx(distance)
    assert picture.save(tmp_path / "far.svg").read_text().startswith("<?xml")


def test_wider_networks_stand_for_a_limit_that_is_not_computed(service, client):
    spec = {**BASE, "grid": {**BASE["grid"], "parameterizations": [{"preset": "mup"}]}}
    asked = client.study(
        "infinite-width", {"spec": spec}, budget="100 runs", tolerance=100.0, study_id="wide"
    )
    with driven(service):
        study = asked.wait(timeout=300)
    assert study.verdict is StudyVerdict.NO_PREDICTION, study.sentence
    assert "from those of networks of width 512, used in place of infinite width" in study.sentence
    specs = {experiment.spec.grid.widths[0]: experiment.spec for experiment in study.trained()}
    assert {width: one.deferred_weights for width, one in specs.items()} == {
        8: "",
        16: "",
        32: "",
        512: "always",
    }
    sums = {}
    for experiment in study.trained():
        points = experiment.metrics(names=["output_sketch/*"])
        for run in experiment.runs():
            sums[run.width, run.seed] = np.array(
                [points.series(run.index, f"output_sketch/{k}")[1][-1] for k in range(129)]
            )
    assert sorted(sums) == [(width, seed) for width in (8, 16, 32, 512) for seed in range(4)]
    off = np.stack([sums[32, seed][1:] - sums[512, seed][1:] for seed in range(4)])
    own = off.var(axis=0, ddof=1).sum() / 17
    size = np.mean([sums[512, seed][0] for seed in range(4)])
    distance = math.sqrt(((off**2).sum(axis=1).mean() - own) / (size - own))
    cell = study.answers[0].cells[0]
    assert cell.low < distance < cell.high
    drawn = {
        row["width"]: row["value"] for row in picture_of(study).rows() if row["series"].startswith("mup")
    }
    assert sorted(drawn) == [8, 16, 32]
    assert drawn[32] == pytest.approx(distance)


def test_of_kernels_every_network_has_its_limit_with_it(service, client):
    spec = {**BASE, "grid": {**BASE["grid"], "parameterizations": [{"preset": "ntk"}]}}
    asked = client.study(
        "infinite-width", {"spec": spec}, budget="100 runs", tolerance=100.0, study_id="own-start"
    )
    with driven(service):
        study = asked.wait(timeout=300)
    assert study.verdict is StudyVerdict.NO_PREDICTION, study.sentence
    assert "that start from the networks' own f_0" in study.sentence
    off, moved = 0.0, 0.0
    for experiment in study.trained():
        assert math.inf not in {run.width for run in experiment.runs()}
        points = experiment.metrics(names=["paired_sketch/*"])
        for run in (run for run in experiment.runs() if run.width == 32):
            unit, *sums = (points.series(run.index, f"paired_sketch/{k}")[1][-1] for k in range(129))
            off, moved = off + np.square(sums).sum(), moved + unit
    cell = study.answers[0].cells[0]
    assert cell.low < math.sqrt(off / moved) < cell.high
    drawn = {
        row["width"]: row["value"] for row in picture_of(study).rows() if row["series"].startswith("ntk")
    }
    assert sorted(drawn) == [8, 16, 32]
    assert drawn[32] == pytest.approx(math.sqrt(off / moved))
