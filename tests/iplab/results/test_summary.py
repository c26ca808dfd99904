"""Means over seeds, and their table."""

import io
import math
import re

import pytest
from rich.console import Console

from ipcore.catalogue.widths import INFINITE_WIDTH
from iplab.display.fitting import fitted
from iplab.display.tables import best_table, print_table, runs_table, summary_table, table_of
from iplab.results.best import BestRates
from iplab.results.run import Run
from iplab.results.summary import Spread, Summary
from iplab.v1 import run_pb2
from tests.iplab.results.grouping import best_rates, summarize


def run(
    seed,
    loss=None,
    accuracy=None,
    *,
    state="SUCCEEDED",
    rate=0.1,
    label="ip",
    index=0,
    layers=4,
    width=64,
    activation="relu",
    at_best=None,
):
    """at_best: test metrics at the best validation."""
    message = run_pb2.Run(
        name=f"experiments/e/runs/r{index:05d}",
        parameterization=label,
        hidden_layers=layers,
        width=width,
        activation=activation,
        base_learning_rate=rate,
        seed=seed,
        state=f"RUN_STATE_{state}",
    )
    if loss is not None:
        message.summary.last_train_loss = message.summary.final_test_loss = loss
    if accuracy is not None:
        message.summary.final_test_accuracy = accuracy
    for name, value in (at_best or {}).items():
        setattr(message.summary, f"test_{name}_at_best_validation", value)
    return Run(None, message)


def drawn(table, width=200):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def test_spread_is_the_sample_standard_deviation():
    def losses(*values):
        (row,) = summarize([run(seed, value) for seed, value in enumerate(values)])
        return row.test_loss

    # Squared distances from the mean 2: 1 + 0 + 1, over n - 1 = 2.
    assert losses(1.0, 2.0, 3.0) == Spread(2.0, 1.0, 3)
    assert losses(5.0) == Spread(5.0, None, 1)
    assert losses(None) == Spread(None, None, 0)
    assert [str(losses(*values)) for values in ([1.0, 2.0, 3.0], [5.0], [None])] == [
        "2.0000 ± 1.0000",
        "5.0000",
        "-",
    ]
    # The sum of these is no double.
    assert losses(1.7e308, 1.7e308).mean == 1.7e308


def test_rows_differ_in_more_than_the_seed():
    rows = summarize([run(0, 1.0, 0.5), run(1, 3.0, 0.7), run(0, 2.0, 0.6, rate=0.2)])
    assert [(row.base_learning_rate, row.runs, row.test_loss.mean) for row in rows] == [
        (0.1, 2, 2.0),
        (0.2, 1, 2.0),
    ]
    assert rows[0].test_accuracy.mean == pytest.approx(0.6)


def test_diverged_runs_are_counted_but_in_no_mean():
    (row,) = summarize([run(0, 1.0, 0.5), run(1, state="DIVERGED"), run(2, state="FAILED")])
    assert (row.runs, row.diverged, row.unfinished) == (3, 1, 1)
    assert row.test_loss == Spread(1.0, None, 1)


def test_the_table_shows_mean_and_spread():
    text = drawn(summary_table(summarize([run(0, 1.0, 0.5), run(1, 3.0, 0.7)])))
    assert "2.0000 ± 1.4142" in text
    assert "0.6000 ± 0.1414" in text
    assert "diverged" not in text
    assert "diverged" in drawn(summary_table(summarize([run(0, state="DIVERGED")])))


def test_what_all_rows_share_stands_in_the_title():
    text = drawn(summary_table(summarize([run(0, 1.0, 0.5), run(0, 3.0, 0.7, rate=0.2)])))
    title, heading = text.splitlines()[:2]
    assert title.strip() == "4 hidden layers, width 64, relu, predicted regime: not covered, 1 run each"
    assert re.split(r"\s{2,}", heading.strip()) == [
        "parameterization",
        "base learning rate",
        "final test loss",
        "final test accuracy",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_ids_and_states_are_never_cut(width):
    runs = [
        run(seed, 1.23456, 0.98765, state=state, rate=rate, label=label, index=seed)
        for seed, (state, rate, label) in enumerate(
            [
                ("SUCCEEDED", 0.0001234, "ip-llr-calibrated-to-0.1-at-the-readout"),
                ("CANCELLING", 0.5, "ip"),
            ]
        )
    ]
    # The table of one run has every column.
    for table in (
        runs_table(runs),
        runs_table(runs[:1]),
        runs_table(runs[1:]),
        summary_table(summarize(runs)),
    ):
        narrow, needed = fitted(table, width)
        assert width < 80 or needed <= width
        text = drawn(narrow, max(width, needed))
        assert "…" not in text
        assert {"0.0001234", "0.5"} & set(text.split())
    assert {"r00000", "SUCCEEDED", "CANCELLING", "1.235", "0.9877"} <= set(drawn(runs_table(runs)).split())


def test_a_validation_set_shows_what_was_best_by_it():
    best = [run(i, 1.0, 0.5, at_best={"loss": 0.8, "accuracy": 0.6 + i / 10}) for i in range(2)]
    (row,) = summarize([*best, run(2, state="DIVERGED", at_best={"accuracy": 0.1})])
    # The run that diverged is in neither mean.
    assert (row.test_accuracy_at_best_validation.n, row.test_accuracy.n) == (2, 2)
    assert row.test_accuracy_at_best_validation.mean == pytest.approx(0.65)
    assert row.test_loss_at_best_validation.mean == pytest.approx(0.8)

    for table in (summary_table([row]), runs_table(best)):
        headings = [str(column.header) for column in table.columns]
        assert {"final test accuracy", "test accuracy at best validation"} <= set(headings)
        assert not {"final test loss", "test loss at best validation"} & set(headings)


def test_targets_without_classes_show_losses():
    table = runs_table([run(0, 1.0, at_best={"loss": 0.8}), run(1, 2.0, at_best={"loss": 0.7})])
    headings = [str(column.header) for column in table.columns]
    assert headings[-3:] == ["last train loss", "final test loss", "test loss at best validation"]


@pytest.mark.parametrize("at_best", [None, {"loss": 0.8, "accuracy": 0.6}])
def test_the_widest_table_of_results_fits_eighty_columns(at_best):
    """Every axis varies, and there are finished, diverged and cancelled runs."""
    settings = [
        {"label": "ip-llr-calibrated", "layers": 10, "width": 1024, "activation": "sigmoid", "rate": 0.0125},
        {"label": "ip-non-centered", "layers": 2, "width": 64, "activation": "tanh", "rate": 0.1},
    ]
    runs = []
    for cancelled, setting in enumerate(settings, start=1):
        runs += [run(seed, 0.5, 0.90 + 0.05 * seed, at_best=at_best, **setting) for seed in range(2)]
        runs += [run(2, state="DIVERGED", **setting)]
        runs += [run(3 + more, state="CANCELLED", **setting) for more in range(cancelled)]
    table = summary_table(summarize(runs))
    headings = {str(column.header) for column in table.columns}
    whole = {"parameterization", "hidden layers", "width", "activation", "base learning rate", "runs"}
    assert whole | {"diverged", "unfinished"} <= headings
    table, needed = fitted(table, 80)
    headings = {str(column.header) for column in table.columns}
    assert {"label", "L", "width", "act", "base rate", "runs", "diverged", "no result"} <= headings
    assert needed <= 80
    text = drawn(table, needed)
    assert "…" not in text
    assert {"0.9250", "0.0354", "0.0125", "1024", "sigmoid", "diverged"} <= set(text.split())


def test_labels_break_after_hyphens_not_within_words():
    rows = [["ip-llr-calibrated", 1.0] for _ in range(2)]
    table, needed = fitted(table_of(["parameterization", "x" * 20], rows), 32)
    assert needed <= 32
    assert [line.split()[0] for line in drawn(table, 32).splitlines()[2:]] == ["ip-llr-", "calibrated"] * 2


def test_a_word_is_broken_where_nothing_else_helps():
    table, needed = fitted(table_of(["label"], [["a" * 30]]), 20)
    assert needed == 20
    assert [line.strip() for line in drawn(table, 20).splitlines()[2:]] == ["a" * 20, "a" * 10]


def test_cells_are_text_not_markup():
    assert "[bold]x" in drawn(table_of(["name"], [["[bold]x"], [None]]))


def test_long_names_are_cut_where_there_is_no_room():
    rows = [("first", "Quickstart: tuned at width 64,\nthen made wider"), ("second", "short")]
    table = table_of(["experiment", "name"], rows, folding=(), cutting={"name"})
    narrow, needed = fitted(table, 40)
    lines = drawn(narrow, 40).splitlines()
    assert (needed, len(lines)) == (40, 4), "a heading, a rule, and a line for each"
    assert lines[2].split(maxsplit=1) == ["first", "Quickstart: tuned at width 6…"]
    ascii_only, _ = fitted(table, 40, "ascii")
    assert "tuned at width..." in drawn(ascii_only, 40)
    assert "then made wider" in drawn(fitted(table, 400)[0], 400)


def test_a_narrow_table_does_not_wrap_its_title(capsys):
    title = "a title of several words that is wider than the table below it"
    print_table(table_of(["x"], [[1]], title))
    assert capsys.readouterr().out.splitlines()[0] == title


def test_short_words_are_explained_below_the_table(capsys, monkeypatch):
    monkeypatch.setattr("iplab.display.tables._PIPED_WIDTH", 30)
    headings, row = ["parameterization", "predicted regime", "width"], ["mup", "feature learning", 64]
    print_table(table_of(headings, [row]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["label", "theory", "width"]
    assert "label: parameterization; theory: predicted regime; features: feature learning" in lines

    monkeypatch.setattr("iplab.display.tables._PIPED_WIDTH", 80)
    print_table(table_of(headings, [row]))
    assert ":" not in capsys.readouterr().out


def test_rows_of_a_parameterization_stand_together():
    grid = [run(0, label=label, width=width) for width in (64, 128) for label in ("mup", "ip")]
    rows = [(row.parameterization, row.width) for row in summarize(grid)]
    assert rows == [("mup", 64), ("mup", 128), ("ip", 64), ("ip", 128)]


def test_one_rate_is_not_several():
    assert str(best_table(best_rates([run(0, 1.0), run(0, 1.0, width=32)])).title).endswith(
        "1 rate tried, 1 run each"
    )


def test_a_limit_has_infinite_width_and_an_error_of_its_own():
    limit, finite = run(0, 0.5, width=INFINITE_WIDTH), run(0, 0.6)
    limit._run_summary.final_limit_error = 0.02
    assert limit.width == math.inf
    assert "m=inf" in repr(limit)
    assert limit.to_dict()["width"] == "inf"
    rows = summarize([finite, limit])
    assert [row.width for row in rows] == [64, math.inf]
    assert [row.to_dict()["width"] for row in rows] == [64, "inf"]
    assert rows[1].limit_error.mean == pytest.approx(0.02)
    assert rows[0].limit_error.n == 0
    text = drawn(summary_table(rows))
    assert "inf" in text
    assert "limit error" in text
    assert "limit error" not in drawn(summary_table(rows[:1]))
    assert "inf" in drawn(runs_table([limit, finite]))


def test_a_prompt_shows_tables(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    runs = [run(seed, 0.5 + seed, 0.9) for seed in range(2)]
    shown = (Summary, summarize(runs), summary_table), (BestRates, best_rates(runs), best_table)
    for kind, found, table in shown:
        print_table(table(found))
        assert repr(kind(found)) == capsys.readouterr().out.rstrip("\n")
    assert repr(Summary()) == repr(BestRates()) == "no runs"
