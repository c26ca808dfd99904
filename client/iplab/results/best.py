"""The best base learning rate of each group of runs, and the criterion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from iplab.results.frames import frame
from iplab.results.numbers import SETTING_DIGITS, counted, number
from iplab.results.settings import NetworkSettings, network_of
from iplab.results.summary import Spread, label, spread_of

if TYPE_CHECKING:
    import pandas as pd

    from iplab.v1 import run_service_pb2

# Default criteria for the best rate, with their words.
CRITERIA: Final = {
    "best_validation_loss": "the smallest validation loss",
    "final_test_loss": "the final test loss, so test results are slightly optimistic: add validation_size "
    "to the spec",
}


@dataclass(frozen=True, slots=True)
class BestRate(NetworkSettings):
    """The best rate of runs that differ only in rate and seed.

    Attributes:
        base_learning_rate: The best rate; None if runs diverged, or have no result, at every rate.
        rates: Number of rates that were tried.
        bracket: "" if the best rate lies between others; else "smallest tried" or "largest tried", because a
            better one may lie beyond.
        runs: Runs at the best rate.
        criterion: The value of runs' summaries whose mean over seeds is smallest (or largest, on request).
            Rates at which a run diverged or has no value are excluded.
        criterion_value: The criterion at the best rate.
        test_loss: Test loss of the final weights at the best rate.
        test_accuracy: Likewise.
    """

    base_learning_rate: float | None
    rates: int
    bracket: str
    runs: int
    criterion: str
    criterion_value: Spread
    test_loss: Spread
    test_accuracy: Spread


class BestRates(list[BestRate]):
    """The best rates, one per group of runs, in the grid's order. Shown as a table."""

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row per group; means are plain numbers.

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
        """
        rows = ({entry.name: getattr(row, entry.name) for entry in fields(row)} for row in self)
        return frame(
            {name: float(value) if isinstance(value, Spread) else value for name, value in row.items()}
            for row in rows
        )

    def __repr__(self) -> str:
        from iplab.display.tables import best_table, text_of  # noqa: PLC0415 - as below

        return text_of(best_table(self)) if self else "no runs"

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone
        from iplab.display.tables import best_table  # noqa: PLC0415 - rich only where something is drawn

        if not self:
            return html.paragraph("no runs")
        by = (
            html.paragraph(f"chosen by {chosen_by(self[0].criterion)}")
            if self[0].criterion in CRITERIA
            else ""
        )
        beyond = advice(self)
        return html.titled("", html.of_table(best_table(self)), by, html.paragraph(beyond) if beyond else "")


def best_rate(group: run_service_pb2.RunGroup, criterion: str) -> BestRate:
    """The best rate of a group, as the service chose it by `criterion`."""
    best = group.base_learning_rate if group.HasField("base_learning_rate") else None
    return BestRate(
        **network_of(group),
        base_learning_rate=best,
        rates=group.rates,
        bracket=_bracket(best, group),
        runs=group.runs,
        criterion=criterion,
        criterion_value=spread_of(group, criterion),
        test_loss=spread_of(group, "final_test_loss"),
        test_accuracy=spread_of(group, "final_test_accuracy"),
    )


def _bracket(best: float | None, group: run_service_pb2.RunGroup) -> str:
    if best is None or group.rates < 2:
        return ""
    ends = {group.smallest_rate: "smallest tried", group.largest_rate: "largest tried"}
    return ends.get(best, "")


def chosen_by(criterion: str, *, largest: bool = False) -> str:
    """The criterion, as part of a sentence.

    >>> chosen_by("best_validation_loss"), chosen_by("final_test_accuracy", largest=True)
    ('the smallest validation loss', 'the largest final test accuracy')
    """
    usual = None if largest else CRITERIA.get(criterion)
    return usual or f"the {'largest' if largest else 'smallest'} {label(criterion)}"


def advice(best: Iterable[BestRate]) -> str:
    """Advice if a group has no best rate, or one that is not bracketed; "" if all are bracketed."""
    open_ends: dict[str, list[float]] = {}
    without = 0
    for row in best:
        without += row.base_learning_rate is None
        if row.bracket and row.base_learning_rate is not None:
            open_ends.setdefault(row.bracket, []).append(row.base_learning_rate)
    said = []
    if without:
        said.append(
            f"{counted(without, 'group')} without a best rate (-): at every rate a run diverged, or has no "
            "result; add smaller rates"
        )
    for bracket, rates in open_ends.items():
        smaller = bracket.startswith("smallest")
        beyond = min(rates) / 2 if smaller else max(rates) * 2
        way = "smaller" if smaller else "larger"
        groups = counted(len(rates), "group")
        said.append(
            f"in {groups} the best rate is the {bracket}, so it is not bracketed: add {way} rates, from "
            f"{number(beyond, SETTING_DIGITS)} on"
        )
    return "; ".join(said)
