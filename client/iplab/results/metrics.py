"""Metric points as numpy columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from iplab.given import Handle
from iplab.results.frames import pandas
from iplab.results.numbers import counted
from iplab.results.settings import AXES, Settings
from iplab.v1.run_service_pb2 import QueryMetricsResponse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ipcore.figures import Courses


@dataclass(frozen=True, slots=True, eq=False)
class Metrics(Handle):
    """Recorded points, one per row, ordered by run, metric and step.

    Attributes:
        names: Names of the metrics: "train_loss", "test_accuracy", of probes "h_change/2" (layer 2).
        run: [points] index of the run in the grid.
        metric: [points] position in `names`.
        step: [points] updates done, or the update whose batch it is, from 1 (training metrics).
        time: [points] when the worker recorded it, UTC, in milliseconds.
        value: [points] losses in nats, accuracies in [0, 1], probes as their quantity says; finite.
        settings: Settings of each run, by its index.
        diverged: Updates done when the loss was not finite, by index of each diverged run.
    """

    names: tuple[str, ...]
    run: npt.NDArray[np.int32]
    metric: npt.NDArray[np.int32]
    step: npt.NDArray[np.int32]
    time: npt.NDArray[np.datetime64]
    value: npt.NDArray[np.float64]
    settings: Mapping[int, Settings] = field(default_factory=dict)
    diverged: Mapping[int, int] = field(default_factory=dict)

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
        """A frame with a row per point.

        Its columns are run, parameterization, hidden_layers, width, activation, base_learning_rate, seed,
        metric, step, time and value; names are categorical.

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
        """
        library = pandas()
        columns: dict[str, Any] = {"run": self.run}
        if self.settings:
            runs, position = np.unique(self.run, return_inverse=True)
            for name in AXES:
                values = [getattr(self.settings[int(run)], name) for run in runs]
                if values and isinstance(values[0], str):
                    kinds = list(dict.fromkeys(values))
                    codes = np.array([kinds.index(value) for value in values])[position]
                    columns[name] = library.Categorical.from_codes(codes, categories=library.Index(kinds))
                else:
                    columns[name] = np.array(values)[position]
        columns |= {
            "metric": library.Categorical.from_codes(self.metric, categories=library.Index(list(self.names))),
            "step": self.step,
            "time": library.to_datetime(self.time, utc=True),
            "value": self.value,
        }
        made: pd.DataFrame = library.DataFrame(columns)
        return made

    def plot(
        self,
        metric: str | None = None,
        by: str | Sequence[str] | None = None,
        *,
        ax: Axes | None = None,
        figure: Figure | SubFigure | None = None,
    ) -> Courses:
        """Its curves over updates: mean and 95 % interval over seeds. A notebook shows the figure.

        Args:
            metric: One of `names`, or a quantity of probes ("h_change"), which has a line per layer; None:
                the first.
            by: Axis or axes of the grid with a line for each value ("parameterization", "width"); None: the
                first that varies. The others have a panel for each value.
            ax: Axes of matplotlib to draw into, as with `Experiment.plot`.
            figure: A figure or subfigure to fill.

        Raises:
            InvalidRequestError: There is no such axis.
            PictureError: The metric has no points, or the figure does not fit into `ax` or `figure`.
        """
        from iplab.plotting.curves import curves  # noqa: PLC0415 - only where it is drawn

        return curves(self, metric, by).placed_in(ax, figure)

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        rows = []
        for position, name in enumerate(self.names):
            chosen = self.metric == position
            steps = self.step[chosen]
            rows.append(
                (name, len(np.unique(self.run[chosen])), f"{len(steps):,}", f"{steps.min()} .. {steps.max()}")
            )
        right = (False, True, True, True)
        title = f"Metrics: {len(self):,} points of {counted(len(np.unique(self.run)), 'run')}"
        table = html.table_html(("metric", "runs", "points", "steps"), rows, right=right)
        return html.titled(title, table if rows else html.paragraph("none"))


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
    # A block may name metrics without points.
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
