"""Figures, frames and notebook views of really trained experiments."""

import csv
import html
import io
import json
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

import iplab as sdk
from ipcore.figures import Courses, PictureError, PowerLaws, RateCurves
from iplab.cli import main
from iplab.cli.plot import KINDS as COMMAND_KINDS
from iplab.plotting import KINDS, pictures
from iplab.plotting.curves import _last_mean
from iplab.results.settings import AXES
from iplab.results.summary import Spread
from tests.ipcore.figures.looking import faults, faults_of
from tests.iplab.conftest import small_spec

NASTY = "<script>alert('1')</script> & \"x\""


@pytest.fixture(scope="module")
def swept(service, client):
    """Three widths, four base rates of which the last diverges, two seeds, with probes of every kind."""
    spec = small_spec(
        parameterizations=[{"preset": "mup"}, {"label": "llr", "preset": "ip-llr", "calibration": {}}],
        widths=[16, 32, 64],
        base_learning_rates=[0.05, 0.2, 0.8, 1e6],
    )
    spec["display_name"] = NASTY
    quantities = ["coordinates", "isolated_updates", "alignment", "ranks", "kernels"]
    spec["spec"] |= {
        "steps": 8,
        "evaluation_interval": 4,
        "record": {"metrics_interval": 2, "probes": {"quantities": quantities, "steps": [0, 1, 4, 8]}},
    }
    experiment = client.create(spec, experiment_id="swept")
    service.train()
    return experiment.refresh()


@pytest.fixture(scope="module")
def report(swept):
    return swept.check()


# Runs of infinite width have no probes: `test_limits` draws them.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "limit"])
def test_every_kind_is_drawn_as_a_referee_wants_it(swept, kind):
    picture = swept.plot(kind)
    assert faults(picture) == []
    assert re.search(r"\d seeds", picture.caption)
    assert list(csv.DictReader(io.StringIO(picture.csv())))


def test_the_default_is_what_the_experiment_is_about(swept, trained):
    assert isinstance(swept.plot(), PowerLaws)
    assert isinstance(trained.plot(), Courses)


@pytest.mark.parametrize("kind", ["rates", "drift", "stationarity"])
def test_captions_say_whose_each_sentence_is(swept, report, kind):
    checks = [check for check in report.checks if check.kind in {"RATE_TRANSFER", "STATIONARITY"}]
    caption = swept.plot(kind).caption
    for check in checks:
        if check.sentence[1:] in caption:
            assert f"{check.sentence[1:]} ({check.subject.parameterization}" in caption


def test_what_diverged_ends_neither_lowest_nor_highest(swept):
    metrics = swept.metrics("parameterization = mup", ["test_loss", "train_loss"])
    assert set(metrics.diverged) == {run.index for run in swept.runs("label = mup AND state = DIVERGED")}
    for run in metrics.diverged:
        assert _last_mean(metrics, "test_loss", [run]) == float("inf")


def test_rates_have_a_curve_per_width_and_crosses_where_runs_diverged(swept):
    picture = swept.plot("rates")
    assert isinstance(picture, RateCurves)
    assert [panel.title for panel in picture.panels] == ["mup", "llr"]
    curves = picture.panels[0].curves
    assert [curve.name for curve in curves] == ["m = 16", "m = 32", "m = 64"]
    for curve, width in zip(curves, (16, 32, 64), strict=True):
        assert [point.rate for point in curve.points] == [0.05, 0.2, 0.8, 1e6]
        assert curve.points[-1].diverged == 2
        assert curve.points[-1].value is None
        losses = [
            run.final_test_loss
            for run in swept.runs(f"parameterization = mup AND width = {width} AND base_learning_rate = 0.2")
        ]
        assert curve.points[1].value == pytest.approx((losses[0] * losses[1]) ** 0.5)


def test_curves_are_means_over_seeds_by_group(trained):
    picture = trained.plot("curves", by="label", metric="train_loss", filter="width = 16")
    (panel,) = picture.panels
    assert [course.name for course in panel.courses] == ["mup", "llr"]
    metrics = trained.metrics("width = 16 AND parameterization = mup", ["train_loss"])
    last = [metrics.value[metrics.run == run][-1] for run in sorted(set(metrics.run.tolist()))]
    assert panel.courses[0].moments[-1].value == pytest.approx((last[0] * last[1]) ** 0.5)
    assert panel.courses[0].moments[-1].low is None, "two seeds are too few for a band"


def test_metrics_draw_themselves(swept):
    metrics = swept.metrics("base_learning_rate = 0.2", ["train_loss", "cka/*"])
    assert metrics.plot(by="width").quantity == "train loss"
    layers = metrics.plot("cka")
    assert [course.name for course in layers.panels[0].courses] == ["x¹", "x²"]
    with pytest.raises(PictureError, match="no points of 'test_loss'"):
        metrics.plot("test_loss")


def test_reports_draw_themselves(report):
    assert set(report.pictures()) == {
        "coordinates", "isolated-updates", "drift", "calibrated-rates", "stationarity",
    }  # fmt: skip
    assert report.plot("drift").base == 2
    with pytest.raises(PictureError, match="it has: coordinates, isolated-updates"):
        report.plot("alignment-exponents")


def test_everything_that_draws_draws_into_the_figures_of_users(swept, report):
    figure = Figure(figsize=(6.8, 10), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(3, 5, 2))
    shown = swept.plot("rates", filter="parameterization = mup", ax=top.subplots())
    assert top.axes[0].get_xlabel() == "base learning rate η"
    assert shown.placed
    assert shown == swept.plot("rates", filter="parameterization = mup")
    assert report.plot("drift", figure=middle).placed
    assert middle.axes
    metrics = swept.metrics("parameterization = mup AND base_learning_rate = 0.05", ["test_loss"])
    assert metrics.plot(ax=bottom.subplots()).placed
    assert faults_of(figure) == []
    with pytest.raises(PictureError, match="panels and ax= takes one"):
        swept.plot("coordinates", ax=Figure().subplots())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "curve"}, "did you mean 'curves'"),
        ({"by": "depht"}, "did you mean hidden_layers\\? There are: parameterization, hidden_layers"),
        ({"metric": "tset_loss"}, "did you mean 'test_loss'"),
    ],
)
def test_wrong_arguments_are_named(trained, arguments, message):
    with pytest.raises(sdk.InvalidRequestError, match=message):
        trained.plot(**arguments)


@pytest.mark.parametrize("kind", ["coordinates", "rates", "ranks"])
def test_what_an_experiment_does_not_hold_is_said(trained, kind):
    with pytest.raises(PictureError, match=rf"^trained has no '{kind}' to draw: that needs |rates"):
        trained.plot(kind)


def test_the_command_saves_every_format(service, swept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(main, ["--address", service.address, "plot", "swept", *arguments])

    done = call()
    assert done.exit_code == 0
    assert done.stderr == "saved swept-coordinates.svg\n"
    assert done.stdout.startswith("Mean size of h")
    for kind in ("png", "pdf", "csv"):
        assert (
            call(
                "--kind", "rates", "--by", "label", "--filter", "width = 16", "--output", f"x.{kind}"
            ).exit_code
            == 0
        )
    assert (tmp_path / "x.csv").read_text().startswith("panel,series,base_learning_rate")
    assert json.loads(call("--json").stdout)["rows"][0]["width"] == 16
    wrong = call("--output", "x.gif")
    assert (wrong.exit_code, "must end in .svg" in wrong.stderr) == (2, True)
    assert not (tmp_path / "x.gif").exists()


def test_the_command_knows_the_kinds_of_the_sdk():
    assert COMMAND_KINDS == KINDS


def test_metric_frames_carry_settings_as_plain_columns(trained):
    frame = trained.metrics(names=["train_loss"]).to_pandas()
    assert list(frame.columns) == ["run", *AXES, "metric", "step", "time", "value"]
    by_run = {run.index: run for run in trained.runs()}
    for _, row in frame.groupby("run").first().reset_index().iterrows():
        assert all(row[name] == getattr(by_run[row["run"]], name) for name in AXES)
    means = frame.groupby(["parameterization", "width"], observed=True)["value"].mean()
    assert len(means) == 4


def test_points_and_runs_are_merged_without_settings_twice(trained):
    """20 train losses of each of 8 runs, each beside the results of its run."""
    points, runs = trained.metrics(names=["train_loss"]).to_pandas(), trained.runs_frame()
    both = points.merge(runs)
    assert len(both) == len(points)
    assert len(set(both.columns)) == len(points.columns) + len(runs.columns) - 1 - len(AXES)
    assert not [name for name in both.columns if name.endswith(("_x", "_y"))]
    assert both["final_test_loss"].notna().all()


def test_frames_of_runs_are_plain(trained, client):
    frame = trained.runs_frame("width = 8")
    assert len(frame) == 4
    assert {"experiment", "run", *AXES, "state", "final_test_loss", "diverged_step"} <= set(frame.columns)
    assert not frame.map(lambda value: isinstance(value, dict | list)).to_numpy().any()
    assert set(client.runs_frame("trained")["experiment"]) == {"trained"}


def test_frames_of_summaries_are_plain(trained):
    rows = trained.summary()
    for frame in (pd.DataFrame(rows), rows.to_pandas()):
        assert len(frame) == 4
        assert not frame.map(lambda value: isinstance(value, dict | list)).to_numpy().any()
        assert frame["test_loss"].dtype == float
        assert frame["test_loss"].tolist() == [row.test_loss.mean for row in rows]
    assert rows.to_pandas()["test_loss_sd"].tolist() == [row.test_loss.sd for row in rows]


def test_a_spread_is_its_mean():
    best = max(Spread(0.5, 0.1, 3), Spread(0.75, None, 1))
    assert best == 0.75
    assert f"{best:.1f} {best}" == "0.8 0.7500"
    assert Spread(1.0, 0.1, 2) != Spread(1.0, 0.2, 2)


def test_handles_show_themselves_escaped(swept, report, client):
    handles = {
        "client": client,
        "experiment": swept,
        "run": next(swept.runs()),
        "summary": swept.summary(),
        "metrics": swept.metrics(names=["train_loss"]),
        "report": report,
        "predictions": swept.predictions,
    }
    for name, handle in handles.items():
        shown = handle._repr_html_()
        assert "<script" not in shown, name
        assert shown.count("<table") == shown.count("</table>"), name
    assert html.escape(NASTY) in swept._repr_html_()
    assert "train_loss" in handles["metrics"]._repr_html_()
    assert "mup" in handles["summary"]._repr_html_()
    assert client._transport.address in handles["client"]._repr_html_()


def test_pages_leave_out_figures_of_single_points(trained, swept, report, client, service):
    spec = trained.as_spec({"steps": 1, "record.probes": {"quantities": ["coordinates"], "steps": [0, 1]}})
    short = client.create(spec, experiment_id="one-update")
    service.train()
    assert set(pictures(trained, trained.check())) == {"curves"}
    assert "changes" not in pictures(short, short.check()), "there is one update"
    assert {"rates", "changes"} <= set(pictures(swept, report))
