"""Metric blocks to columns, series and frames."""

import numpy as np
import pandas as pd
import pytest

from iplab.results.metrics import collect
from iplab.v1.run_service_pb2 import QueryMetricsResponse


def block(names, rows):
    """A block with (run, metric name, step, milliseconds, value) rows."""
    return QueryMetricsResponse(
        metrics=names,
        run_indices=[row[0] for row in rows],
        metric_indices=[names.index(row[1]) for row in rows],
        steps=[row[2] for row in rows],
        times_ms=[row[3] for row in rows],
        values=[row[4] for row in rows],
    )


@pytest.fixture
def metrics():
    # The same metric has another number in the second block, and its steps come before the first's of run 1.
    return collect(
        [
            block(
                ["test_accuracy", "train_loss"],
                [(1, "train_loss", 10, 1000, 0.5), (1, "train_loss", 20, 2000, 0.25)],
            ),
            block(
                ["test_loss", "train_loss"], [(0, "test_loss", 0, 500, 2.0), (0, "train_loss", 1, 600, 1.0)]
            ),
        ]
    )


def test_rows_are_ordered_by_run_metric_and_step(metrics):
    columns = zip(metrics.run, metrics.metric, metrics.step, strict=True)
    named = [(int(run), metrics.names[metric], int(step)) for run, metric, step in columns]
    assert named == [
        (0, "train_loss", 1),
        (0, "test_loss", 0),
        (1, "train_loss", 10),
        (1, "train_loss", 20),
    ]
    assert metrics.value.tolist() == [1.0, 2.0, 0.5, 0.25]
    assert metrics.time[0] == np.datetime64("1970-01-01T00:00:00.600")


def test_a_series_is_one_curve(metrics):
    steps, values = metrics.series(1, "train_loss")
    assert steps.tolist() == [10, 20]
    assert values.tolist() == [0.5, 0.25]
    assert len(metrics.series(1, "test_loss")[0]) == 0
    with pytest.raises(KeyError, match="train_loss, test_loss"):
        metrics.series(0, "loss")


def test_pandas_gets_names_and_times(metrics):
    frame = metrics.to_pandas()
    assert list(frame.columns) == ["run", "metric", "step", "time", "value"]
    assert frame["metric"].tolist() == ["train_loss", "test_loss", "train_loss", "train_loss"]
    assert frame["time"].iloc[0] == pd.Timestamp("1970-01-01T00:00:00.600", tz="UTC")
    pivot = frame.pivot_table(index="step", columns="run", values="value", observed=True)
    assert pivot.loc[20, 1] == 0.25


def test_no_points_are_no_error():
    empty = collect([])
    assert len(empty) == 0
    assert empty.to_pandas().empty
    assert "0 points" in repr(empty)
