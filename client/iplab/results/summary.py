"""Final results over seeds: the rows of a results table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from ipcore.catalogue.widths import plain_width
from iplab.results.frames import frame
from iplab.results.numbers import mean_and_deviation
from iplab.results.reading import member
from iplab.results.settings import NetworkSettings, network_of
from iplab.results.states import Regime

if TYPE_CHECKING:
    import pandas as pd

    from iplab.v1 import run_service_pb2


class Spread(float):
    """A mean over seeds, with the standard deviation and number of the values.

    It calculates and compares like the mean; without values it is NaN. Its text is that of tables.

    Attributes:
        mean: Mean over the runs that have a value; None if none has.
        sd: Sample standard deviation (n - 1 in the denominator); None with fewer than two values.
        n: Number of values.

    >>> best = max(Spread(0.91, 0.02, 3), Spread(0.94, None, 1))
    >>> str(best), best > 0.9
    ('0.9400', True)
    """

    __slots__ = ("mean", "n", "sd")
    mean: float | None
    sd: float | None
    n: int

    def __new__(cls, mean: float | None, sd: float | None, n: int) -> Self:
        """See the attributes."""
        made = super().__new__(cls, math.nan if mean is None else mean)
        made.mean, made.sd, made.n = mean, sd, n
        return made

    def __getnewargs__(self) -> tuple[float | None, float | None, int]:  # type: ignore[override]
        """For copies and pickles."""
        return self.mean, self.sd, self.n

    def __eq__(self, other: object) -> bool:
        """Equality of mean, sd and n with another spread, or of the mean with a number."""
        if isinstance(other, Spread):
            return (self.mean, self.sd, self.n) == (other.mean, other.sd, other.n)
        return float(self) == other

    def __ne__(self, other: object) -> bool:  # float has one of its own
        return not self == other

    def __hash__(self) -> int:
        return hash(float(self))

    def __repr__(self) -> str:
        return f"Spread(mean={self.mean!r}, sd={self.sd!r}, n={self.n})"

    def __str__(self) -> str:
        """As in tables: "0.9370 ± 0.0446", "0.9370" for one value, "-" for none."""
        if self.mean is None:
            return "-"
        return mean_and_deviation(self.mean, self.sd)

    def to_dict(self) -> dict[str, object]:
        """Plain values: mean, sd, n."""
        return {"mean": self.mean, "sd": self.sd, "n": self.n}


def _of(result: str) -> dict[str, str]:
    return {"result": result}


@dataclass(frozen=True, slots=True)
class SummaryRow(NetworkSettings):
    """Runs that differ only in their seed.

    Attributes:
        base_learning_rate: eta.
        predicted_regime: Theory's prediction in the limit of infinite width.
        runs: Number of runs.
        diverged: Number of runs with a loss that was not finite; means exclude them.
        unfinished: Number of runs that neither succeeded nor diverged: waiting, training, failed or
            cancelled.
        test_loss: Test loss of the final weights, in nats.
        test_accuracy: Test accuracy of the final weights, in [0, 1].
        test_loss_at_best_validation: Test loss of the weights with the best validation; n = 0 without a
            validation set.
        test_accuracy_at_best_validation: Likewise.
        limit_error: For infinite width: the particles' own error of f, relative to |f|; else n = 0.
    """

    base_learning_rate: float
    predicted_regime: Regime
    runs: int
    diverged: int
    unfinished: int
    test_loss: Spread = field(metadata=_of("final_test_loss"))
    test_accuracy: Spread = field(metadata=_of("final_test_accuracy"))
    test_loss_at_best_validation: Spread = field(metadata=_of("test_loss_at_best_validation"))
    test_accuracy_at_best_validation: Spread = field(metadata=_of("test_accuracy_at_best_validation"))
    limit_error: Spread = field(metadata=_of("final_limit_error"))

    def spreads(self) -> dict[str, Spread]:
        """The means by name of the run's value: "final_test_loss", ..."""
        return {result: getattr(self, name) for name, result in averaged().items()}

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `iplab show --json` prints them; each mean with its sd and n."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, Spread) else value for name, value in values.items()
        } | {"width": plain_width(self.width)}

    def to_flat_dict(self) -> dict[str, object]:
        """Plain values without nesting, as the columns of a frame: "test_loss", "test_loss_sd", ..."""
        flat: dict[str, object] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Spread):
                flat |= {entry.name: float(value), f"{entry.name}_sd": value.sd, f"{entry.name}_n": value.n}
            else:
                flat[entry.name] = str(value) if isinstance(value, Regime) else value
        return flat


class Summary(list[SummaryRow]):
    """The rows of a results table, in the grid's order. Shown as a table."""

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row per group of seeds; "test_loss" is a mean, beside it "test_loss_sd" and "_n".

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
        """
        return frame(row.to_flat_dict() for row in self)

    def __repr__(self) -> str:
        from iplab.display.tables import summary_table, text_of  # noqa: PLC0415 - as below

        return text_of(summary_table(self)) if self else "no runs"

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone
        from iplab.display.tables import summary_table  # noqa: PLC0415 - rich only where something is drawn

        if not self:
            return html.paragraph("no runs; `experiment.unmatched(filter)` says why a filter matches none")
        return html.of_table(summary_table(self))


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    # `statistics.mean` is exact: the sum of numbers near the largest double does not overflow.
    mean = float(statistics.mean(values)) if values else None
    sd = None
    if len(values) > 1:
        sd = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    return Spread(mean, sd, len(values))


def summary_row(group: run_service_pb2.RunGroup) -> SummaryRow:
    """The row of a group of runs that differ only in their seed."""
    spreads: dict[str, Any] = {name: spread_of(group, result) for name, result in averaged().items()}
    return SummaryRow(
        **network_of(group),
        base_learning_rate=group.base_learning_rate,
        predicted_regime=member(Regime, group, "predicted_regime"),
        runs=group.runs,
        diverged=group.diverged,
        unfinished=group.unfinished,
        **spreads,
    )


def spread_of(group: run_service_pb2.RunGroup, value: str) -> Spread:
    """A group's mean of a value of runs' summaries."""
    for found in group.values:
        if found.name == value:
            return Spread(found.mean, found.deviation if found.HasField("deviation") else None, found.count)
    return Spread(None, None, 0)


def label(result: str) -> str:
    """Name of a value of a run's summary in tables.

    >>> label("final_test_loss"), label("best_validation_step")
    ('final test loss', 'best validation at step')
    """
    words = result.replace("_", " ")
    return f"{words.removesuffix(' step')} at step" if words.endswith(" step") else words


def averaged() -> dict[str, str]:
    """The values of runs' summaries that a row has the means of, by the names of the means."""
    return {f.name: f.metadata["result"] for f in fields(SummaryRow) if "result" in f.metadata}
