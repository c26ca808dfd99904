"""The results of an experiment, as `show`, `watch` and `submit --watch` print them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iplab.cli.app import note
from iplab.display.terminal import echo, folded, visible
from iplab.results.numbers import SETTING_DIGITS, number

# Maximum number of characters of a shortened warning.
_BRIEF = 140

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iplab.results.best import BestRate
    from iplab.results.experiment import Experiment
    from iplab.results.summary import SummaryRow


def headline(experiment: Experiment) -> str:
    """The state of an experiment in one line."""
    return visible(experiment.headline)


def brief(warning: str, more: str) -> str:
    """The first sentence of a warning, without the reasons after a colon.

    >>> brief("mine, relu: theory predicts trivial: f_t - f_0 falls like m^(-2) at all steps. Try c.", "more")
    'mine, relu: theory predicts trivial (more)'
    """
    found = re.match(r".*?[.!?](?=\s+[A-Z])", warning)
    first = found[0] if found else warning
    cut = first.rfind(": ", 0, _BRIEF // 2)
    first = first[:cut] if len(first) > _BRIEF // 2 and cut > 0 else first
    return first if first == warning else f"{first} ({more})"


def _fruitless(experiment: Experiment) -> bool:
    """Whether it ended without results: no run succeeded or diverged."""
    counts = experiment.counts
    return experiment.state.terminal and not counts.succeeded and not counts.diverged


def divergence(experiment: Experiment) -> str:
    """Text about diverged runs, with advice; "" if none diverged."""
    diverged, total = experiment.counts.diverged, experiment.counts.total
    if not diverged:
        return ""
    if diverged < total:
        return (
            f"{diverged} of {total} runs diverged: their loss was not finite. Means are over the others "
            f"(which: iplab runs {experiment.id} --filter 'state = DIVERGED')"
        )
    grid = experiment.spec.grid
    rates = [
        *grid.base_learning_rates,
        *(rate for entry in grid.parameterizations for rate in entry.base_learning_rates),
    ]
    smaller = f" smaller than {number(min(rates), SETTING_DIGITS)}" if rates else " that are smaller"
    return (
        "every run diverged: no loss stayed finite, so there are no results. Submit again with base learning "
        f"rates{smaller} (at which step each run diverged: iplab runs {experiment.id})"
    )


def print_results(
    experiment: Experiment, rows: Sequence[SummaryRow], best: Sequence[BestRate] | None = None
) -> None:
    """Print diverged runs, the table of results, and the criterion for rates.

    Args:
        experiment: Whose.
        rows: Rows of the table.
        best: Best rates to show instead of the table.
    """
    from iplab.display.tables import best_table, print_table, summary_table  # noqa: PLC0415 - as above
    from iplab.results.best import advice, chosen_by  # noqa: PLC0415 - rich and views only where something is drawn

    if said := divergence(experiment):
        echo(folded(said))
    if experiment.all_diverged:
        return
    if best is not None:
        print_table(best_table(best))
        if best:
            echo(folded(f"rates were chosen by {chosen_by(best[0].criterion)}"))
        if said := advice(best):
            echo(folded(said))
    elif rows and not _fruitless(experiment):
        print_table(summary_table(rows))
        regimes = dict.fromkeys(row.predicted_regime for row in rows)
        echo(folded("; ".join(f"{regime.words}: {regime.meaning}" for regime in regimes)))
        groups = {(row.parameterization, row.hidden_layers, row.width, row.activation) for row in rows}
        if len(groups) < len(rows):
            note(f"the best rate of each group: iplab show {experiment.id} --best")
