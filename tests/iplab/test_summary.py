"""Means over seeds, and the table of them."""

import io
import re

import pytest
from rich.console import Console

from iplab.run import Run
from iplab.summary import Spread, spread, summarize
from iplab.tables import fit, runs_table, summary_table, table_of
from iplab.v1 import run_pb2


def run(seed, loss=None, accuracy=None, *, state="SUCCEEDED", rate=0.1, label="ip", index=0):
    message = run_pb2.Run(
        name=f"experiments/e/runs/r{index:05d}",
        parameterization=label,
        hidden_layers=4,
        width=64,
        activation="relu",
        base_learning_rate=rate,
        seed=seed,
        state=f"RUN_STATE_{state}",
    )
    if loss is not None:
        message.summary.last_train_loss = loss
        message.summary.final_test_loss, message.summary.final_test_accuracy = loss, accuracy
    return Run(None, message)


def drawn(table, width=200):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def test_spread_is_the_sample_standard_deviation():
    # Squared distances from the mean 2: 1 + 0 + 1, over n - 1 = 2.
    assert spread([1.0, 2.0, 3.0]) == Spread(2.0, 1.0, 3)
    assert spread([5.0]) == Spread(5.0, None, 1)
    assert spread([]) == Spread(None, None, 0)
    assert [str(spread(values)) for values in ([1.0, 2.0, 3.0], [5.0], [])] == [
        "2.0000 ± 1.0000",
        "5.0000",
        "-",
    ]


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
    assert title.strip() == "L=4, width 64, relu, theory: -, seeds: 1"
    assert re.split(r"\s{2,}", heading.strip()) == [
        "label",
        "base rate",
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
    # In the table of one run, nothing is shared: it has every column.
    for table in (
        runs_table(runs),
        runs_table(runs[:1]),
        runs_table(runs[1:]),
        summary_table(summarize(runs)),
    ):
        needed = fit(table, width)
        assert width < 80 or needed <= width
        text = drawn(table, max(width, needed))
        assert "…" not in text
        assert {"0.0001234", "0.5"} & set(text.split())
    assert {"r00000", "SUCCEEDED", "CANCELLING", "1.235", "0.9877"} <= set(drawn(runs_table(runs)).split())


def test_cells_are_text_not_markup():
    assert "[bold]x" in drawn(table_of(["name"], [["[bold]x"], [None]]))
