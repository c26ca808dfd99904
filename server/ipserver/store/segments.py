"""Metric segments: the points of one pack and slice as one compressed Arrow block.

The block holds the time of every point, so sending it again sends identical points.

Columns are made from and read as buffers: `pa.array` and `to_numpy` would load pandas, if it is installed, in
every process that trains or answers queries.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

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
            _numbers(run_indices, np.int32),
            pa.DictionaryArray.from_arrays(_numbers(metric_column, np.int32), _texts(metrics)),
            _numbers(steps, np.int32),
            _numbers(times_ms, np.int64),
            _numbers(values, np.float64),
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
        _values(batch.column("run"), np.int32),
        _values(metric.indices, np.int32),
        _values(batch.column("step"), np.int32),
        _values(batch.column("time_ms"), np.int64),
        _values(batch.column("value"), np.float64),
    )


def _numbers(values: npt.ArrayLike, dtype: npt.DTypeLike) -> pa.Array:
    column = np.ascontiguousarray(values, dtype)
    return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, pa.py_buffer(column)])


def _texts(texts: Sequence[str]) -> pa.StringArray:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _values(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    numbers = np.frombuffer(column.buffers()[1], dtype)
    return numbers[column.offset : column.offset + len(column)]


def without(data: bytes, runs: Collection[int]) -> bytes:
    """The block without the points of the given runs (indices in the grid)."""
    points = decode(data)
    rest = points.select(~np.isin(points.run, list(runs)))
    return encode(rest.run, rest.metric, rest.metrics, rest.step, rest.time_ms, rest.value)
