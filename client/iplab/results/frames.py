"""Frames of pandas, an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from iplab.results.run import Run


def pandas() -> ModuleType:
    """The library.

    Raises:
        ImportError: It is missing; the message says what to install.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("frames need pandas: pip install 'iplab[pandas]'") from error
    return pd


def frame(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A frame of rows with plain values; a column without any is one of NaN. Raises as `pandas`."""
    made: pd.DataFrame = pandas().DataFrame(list(rows))
    empty = [name for name in made if made[name].isna().all()]
    return made.astype(dict.fromkeys(empty, float))


def run_row(run: Run) -> dict[str, object]:
    """A run as plain values without nesting: where it stands in the grid, its state, its results."""
    from iplab.results.settings import AXES  # noqa: PLC0415 - only here

    experiment = run.name.removeprefix("experiments/").partition("/")[0]
    rates = {f"calibrated_rate_{layer}": rate for layer, rate in enumerate(run.calibrated_rates, start=1)}
    return {
        "experiment": experiment,
        "run": run.index,
        **{name: getattr(run, name) for name in AXES},
        "state": str(run.state),
        "committed_steps": run.committed_steps,
        "steps": run.steps,
        "predicted_regime": str(run.predicted_regime),
        **run.results,
        **rates,
    }
