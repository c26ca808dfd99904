"""Explains why a filter matches nothing: names comparisons that no record satisfies, and existing values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from ipcore.errors import nearest
from ipserver.store import Store
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.filters import ALL, Comparison, Filter, Junction, Negation
from ipserver.store.records.runs import RunRecord
from ipserver.store.transactions.comparisons import holds

Value = str | int | float | None
# Maximum number of records that are searched.
_LOOKED_AT: Final = 10_000
_SHOWN: Final = 10


def unmatched_runs(store: Store, experiment: str, where: Filter) -> str:
    """A sentence for each comparison that no run satisfies on its own; "" if there is none."""
    records = store.list_runs(experiment, limit=_LOOKED_AT)
    return _sentences(where, "run", lambda field: (run_value(record, field) for record in records))


def unmatched_experiments(store: Store, where: Filter, visible: Filter = ALL) -> str:
    """As `unmatched_runs`, for the experiments that the caller may see."""
    records = store.list_experiments(visible, limit=_LOOKED_AT // 10)
    return _sentences(
        where, "experiment", lambda field: (_experiment_value(record, field) for record in records)
    )


def run_value(run: RunRecord, field: str) -> Value:
    """The value of a filter's field; None if the run has none."""
    found: Value = getattr(run, field, None) if hasattr(run, field) else getattr(run.summary, field)
    return found


def _experiment_value(experiment: ExperimentRecord, field: str) -> Value:
    if field.startswith("labels."):
        return experiment.labels.get(field.removeprefix("labels."))
    names = {"experiment": "id", "owner": "owned_by"}
    found: Value = getattr(experiment, names.get(field, field))
    return found


def _sentences(where: Filter, kind: str, values: Callable[[str], Iterable[Value]]) -> str:
    sentences = []
    for term in dict.fromkeys(_comparisons(where)):
        known = {value for value in values(term.field) if value is not None}
        if not any(holds(term, value) for value in known):
            value = _shown(term.field, term.value)
            sentences.append(f"no {kind} has {term.field} {term.op} {value}; {_known(term, known)}")
    return ". ".join(sentences)


def _comparisons(where: Filter) -> Iterator[Comparison]:
    """All comparisons of a filter except negated ones."""
    match where:
        case Comparison():
            yield where
        case Junction():
            for part in where.parts:
                yield from _comparisons(part)
        case Negation():
            return


def _known(term: Comparison, known: set[str | int | float]) -> str:
    """The existing values, nearest first."""
    if not known:
        return "none has a value"
    if isinstance(term.value, str):
        texts = sorted(map(str, known))
        close = nearest(term.value, texts)
        hint = f"did you mean {close}? There are " if close else "there are "
        more = ", ..." if len(texts) > _SHOWN else ""
        return f"{hint}{', '.join(texts[:_SHOWN])}{more}"
    numbers = sorted(value for value in known if not isinstance(value, str))
    if len(numbers) > _SHOWN:
        return f"values lie between {_shown(term.field, numbers[0])} and {_shown(term.field, numbers[-1])}"
    return f"there are {', '.join(_shown(term.field, number) for number in numbers)}"


def _shown(field: str, value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    if field.endswith("_time"):
        return f"{datetime.fromtimestamp(round(value), UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{value:g}"
