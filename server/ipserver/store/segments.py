"""Metric segments: the points of one pack and slice as one compressed Arrow block.

The block holds the time of every point, so sending it again sends identical points.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

_SCHEMA = pa.schema(
    [
        ("run", pa.int32()),
        ("metric", pa.dictionary(pa.int32(), pa.string())),
        ("step", pa.int32()),
        ("time_ms", pa.int64()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Metric points as columns of equal length.

    Attributes:
        metrics: Names that `metric` refers to.
        run: Index of the run in the grid, int32.
        metric: Position in `metrics`, int32.
        step: Updates done (test metrics) or number of the batch's update (training metrics), int32.
        time_ms: Milliseconds since 1970-01-01 UTC, int64.
        value: Finite, float64.
    """

    metrics: tuple[str, ...]
    run: npt.NDArray[np.int32]
    metric: npt.NDArray[np.int32]
    step: npt.NDArray[np.int32]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.value)

    def select(self, which: npt.NDArray[np.bool_] | slice) -> Points:
        """The points of a mask or slice, in the same order."""
        return Points(
            self.metrics,
            self.run[which],
            self.metric[which],
            self.step[which],
            self.time_ms[which],
            self.value[which],
        )


def encode(
    run_indices: npt.ArrayLike,
    metric_indices: npt.ArrayLike,
    metrics: Sequence[str],
    steps: npt.ArrayLike,
    times_ms: npt.ArrayLike,
    values: npt.ArrayLike,
) -> bytes:
    """Points as one block.

    Args:
        run_indices: Index in the grid of each point's run.
        metric_indices: Position in `metrics` of each point's metric.
        metrics: Names.
        steps: Step of each point.
        times_ms: Milliseconds since 1970-01-01 UTC of each point.
        values: Value of each point.

    Returns:
        The block; b"" if there are no points.

    Raises:
        ValueError: Columns of different length, or a metric index without a name.

    >>> points = decode(encode([3, 3], [0, 1], ["train_loss", "train_accuracy"], [1, 1], [7, 7], [2.5, 0.5]))
    >>> points.metrics, points.run.tolist(), points.value.tolist()
    (('train_loss', 'train_accuracy'), [3, 3], [2.5, 0.5])
    """
    metric_column = np.asarray(metric_indices, np.int32)
    if metric_column.size == 0:
        return b""
    if metric_column.min() < 0 or metric_column.max() >= len(metrics):
        raise ValueError(f"metric indices must lie in 0 .. {len(metrics) - 1}")
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(np.asarray(run_indices, np.int32)),
            pa.DictionaryArray.from_arrays(pa.array(metric_column), pa.array(list(metrics), pa.string())),
            pa.array(np.asarray(steps, np.int32)),
            pa.array(np.asarray(times_ms, np.int64)),
            pa.array(np.asarray(values, np.float64)),
        ],
        schema=_SCHEMA,
    )
    batch.validate()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode(data: bytes) -> Points:
    """The points of a block that `encode` made; b"" has none.

    Raises:
        ValueError: Not such a block.
    """
    if not data:
        empty = np.empty(0, np.int32)
        return Points((), empty, empty, empty, np.empty(0, np.int64), np.empty(0, np.float64))
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    if batch.schema != _SCHEMA:
        raise ValueError(f"not a metric segment: its columns are {batch.schema.names}")
    metric = batch.column("metric")
    return Points(
        tuple(metric.dictionary.to_pylist()),
        batch.column("run").to_numpy(),
        metric.indices.to_numpy(),
        batch.column("step").to_numpy(),
        batch.column("time_ms").to_numpy(),
        batch.column("value").to_numpy(),
    )


def without(data: bytes, runs: Collection[int]) -> bytes:
    """The block without the points of the given runs (indices in the grid)."""
    points = decode(data)
    rest = points.select(~np.isin(points.run, list(runs)))
    return encode(rest.run, rest.metric, rest.metrics, rest.step, rest.time_ms, rest.value)
