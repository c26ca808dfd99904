"""Metric points as numpy columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from iplab.v1.run_service_pb2 import QueryMetricsResponse

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """Recorded points, one per row, ordered by run, metric and step.

    Attributes:
        names: The metrics there are: "train_loss", "test_accuracy", of probes "h_change/2" (layer 2).
        run: [points] index of the run in the grid.
        metric: [points] position in `names`.
        step: [points] updates done, or the update whose batch it is, from 1 (training metrics).
        time: [points] when the worker recorded it, UTC, in milliseconds.
        value: [points] losses in nats, accuracies in [0, 1], probes as their quantity says; finite.
    """

    names: tuple[str, ...]
    run: npt.NDArray[np.int32]
    metric: npt.NDArray[np.int32]
    step: npt.NDArray[np.int32]
    time: npt.NDArray[np.datetime64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        runs = len(np.unique(self.run))
        return f"<Metrics: {len(self)} points of {', '.join(self.names) or 'no metric'} in {runs} runs>"

    def series(self, run: int, metric: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """One curve.

        Args:
            run: Index of the run in the grid.
            metric: One of `names`.

        Returns:
            Steps, ascending, and values. Empty if the run has no such points.

        Raises:
            KeyError: `metric` is not among `names`.
        """
        if metric not in self.names:
            raise KeyError(f"no points of {metric!r}; there are {', '.join(self.names) or 'none'}")
        chosen = (self.run == run) & (self.metric == self.names.index(metric))
        return self.step[chosen], self.value[chosen]

    def to_pandas(self) -> pd.DataFrame:
        """A frame with the columns run, metric (categorical), step, time, value.

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install 'iplab[pandas]'") from error
        return pd.DataFrame(
            {
                "run": self.run,
                "metric": pd.Categorical.from_codes(self.metric, categories=pd.Index(list(self.names))),
                "step": self.step,
                "time": pd.to_datetime(self.time, utc=True),
                "value": self.value,
            }
        )


def collect(blocks: Iterable[QueryMetricsResponse]) -> Metrics:
    """Join the blocks of an answer; each block has a metric table of its own."""
    position: dict[str, int] = {}
    runs: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
    metrics, steps = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    times: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    values: list[npt.NDArray[np.float64]] = [np.empty(0, np.float64)]
    for block in blocks:
        table = np.array([position.setdefault(name, len(position)) for name in block.metrics], np.int32)
        runs.append(np.fromiter(block.run_indices, np.int32, len(block.run_indices)))
        metrics.append(table[np.fromiter(block.metric_indices, np.int32, len(block.metric_indices))])
        steps.append(np.fromiter(block.steps, np.int32, len(block.steps)))
        times.append(np.fromiter(block.times_ms, np.int64, len(block.times_ms)))
        values.append(np.fromiter(block.values, np.float64, len(block.values)))
    run, metric, step = (np.concatenate(column) for column in (runs, metrics, steps))
    # A block may name metrics that none of its points has.
    used, renumbered = np.unique(metric, return_inverse=True)
    named = list(position)
    order = np.lexsort((step, renumbered, run))
    return Metrics(
        tuple(named[i] for i in used),
        run[order],
        renumbered[order].astype(np.int32),
        step[order],
        np.concatenate(times)[order].astype("datetime64[ms]"),
        np.concatenate(values)[order],
    )
