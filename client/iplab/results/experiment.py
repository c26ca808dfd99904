"""Experiments: submission, progress and results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from iplab.results import following
from iplab.results.events import Event
from iplab.results.experiment_changes import ExperimentChanges
from iplab.results.experiment_data import ExperimentData
from iplab.results.experiment_view import Predictions
from iplab.results.report import Report, check_experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ipcore.figures import Picture


class Experiment(ExperimentChanges, ExperimentData):
    """Runs trained from one spec, as of the last time it was read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    @property
    def predictions(self) -> Predictions:
        """Theory's predictions for every parameterization, depth and activation of the grid.

        Listings omit predictions, so they are read from the service at first use.
        """
        if not self._experiment.predictions and self.id:
            self.refresh()
        return super().predictions

    def watch(self, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """Events in order and without gaps, past ones first, until it has ended.

        If the connection breaks, or the service finds the reader too slow, the iteration continues after the
        last event.

        Args:
            after: Sequence of the last known event; 0 begins with the first.
            timeout: Seconds until TimedOutError; None: no limit.

        Raises:
            UnavailableError: The service did not answer for a minute.
        """
        return following.watch(self._transport, self.name, after, timeout)

    def wait(self, progress: bool = True, timeout: float | None = None) -> Self:
        """Wait until it has ended; a paused one ends only after it is resumed.

        Args:
            progress: Show progress and the time left: in a notebook below the cell, else on standard error,
                with a bar per group of runs (hidden layers, width, activation) on a terminal, and a line
                every few seconds in a file or pipe.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again: SUCCEEDED, FAILED or CANCELLED.
        """
        from iplab.display.progress import follow  # noqa: PLC0415 - rich only where something is drawn

        def watch(say: Callable[[str], None]) -> Iterator[Event]:
            return following.watch(self._transport, self.name, timeout=timeout, say=say)

        follow(watch, self.id, show=progress)
        return self.refresh()

    def plot(
        self,
        kind: str | None = None,
        by: str | Sequence[str] | None = None,
        metric: str | None = None,
        filter: str = "",
        *,
        ax: Axes | None = None,
        figure: Figure | SubFigure | None = None,
    ) -> Picture:
        """A figure of its data. A notebook shows it; `save` writes it to a file.

        Args:
            kind: "coordinates" (sizes and changes against the width, with theory), "rates" (loss against the
                base rate), "curves" (learning curves), "drift" (best rate against the width),
                "isolated-updates", "calibrated-rates", "stationarity", "alignment-exponents", "limit"
                (distance to infinite width), or over updates by layer "ranks", "kernels", "alignment",
                "sizes", "changes"; None: coordinates if they were recorded, rates if there are three, else
                curves.
            by: Axis or axes of the grid with a line for each value ("parameterization", "width"); None: the
                first that varies. The other axes have a panel for each value.
            metric: With curves, a metric ("train_loss"), or a quantity of probes ("h_change"); None: the
                validation loss, or the test loss.
            filter: Which runs, as in `runs`; for what is drawn from runs and metrics.
            ax: Axes of matplotlib to draw a figure of one panel into (`ipcore.figures.Picture.draw`).
            figure: A figure or subfigure of matplotlib to fill, with any number of panels.

        Raises:
            InvalidRequestError: There is no such kind, axis or metric, or the filter is malformed.
            PictureError: The experiment has no data of this kind, and the message says which it has; or the
                figure does not fit into `ax` or `figure`.
            ImportError: matplotlib is missing (when it is drawn); `pip install 'iplab[plot]'`.
        """
        from iplab.plotting import plot  # noqa: PLC0415 - only where it is drawn

        return plot(self, kind, by, metric, filter).placed_in(ax, figure)

    def check(
        self,
        references: Mapping[str, str] | None = None,
        steps: Sequence[int] = (),
        tolerance: float | None = None,
        *,
        alignment: bool = False,
    ) -> Report:
        """Compare its recorded data with theory: slopes over widths, verdicts, and missing data.

        Coordinates need `record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]}`, three widths and,
        to agree, three seeds.

        Args:
            references: Intended parameterization by label: another label or a preset. {"mine": "mup"} finds
                the layer in which "mine" is not muP.
            steps: Steps at which coordinates are checked; (): 0 to 3 and the last recorded one.
            tolerance: Distance from a predicted exponent that still agrees, 0 < tolerance <= 1; None: 0.1.
            alignment: Check measured alignment too (probe `alignment`), and predict again with it.

        Raises:
            InvalidRequestError: A label, preset, step or the tolerance is invalid.
        """
        return check_experiment(
            self._transport, self.name, references or {}, steps, tolerance, alignment=alignment
        )
