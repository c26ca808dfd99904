"""Filter terms as SQL conditions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ipserver.store.records import AXES, Comparison
from ipserver.store.summary import VALUES
from ipserver.store.tables import Name, experiments, runs

RUN_FIELDS: Mapping[str, sa.Column[Any]] = {
    "index": runs.c.run_index,
    **{
        name: runs.c[name]
        for name in (
            "state",
            "parameterization",
            *AXES,
            "base_learning_rate",
            "seed",
            "pack",
            *VALUES,
        )
    },
}
EXPERIMENT_FIELDS: Mapping[str, sa.Column[Any]] = {
    "experiment": experiments.c.id,
    "state": experiments.c.state,
    "priority": experiments.c.priority,
}

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def run_conditions(where: Sequence[Comparison]) -> list[sa.ColumnElement[bool]]:
    """Conditions on `runs`, to be joined by AND. A comparison with an absent value is false.

    Raises:
        ValueError: Runs have no such field.
    """
    return [_condition(RUN_FIELDS.get(term.field), term) for term in where]


def experiment_conditions(where: Sequence[Comparison]) -> list[sa.ColumnElement[bool]]:
    """Conditions on `experiments`, as `run_conditions`. A comparison with an absent label is false."""
    conditions = []
    for term in where:
        space, dot, key = term.field.partition(".")
        if space == "labels" and dot:
            label = sa.type_coerce(experiments.c.labels[key].as_string(), Name)
            conditions.append(_condition(label, term))
        else:
            conditions.append(_condition(EXPERIMENT_FIELDS.get(term.field), term))
    return conditions


def _condition(column: sa.ColumnElement[Any] | None, term: Comparison) -> sa.ColumnElement[bool]:
    if column is None:
        raise ValueError(f"there is no field {term.field!r}")
    condition: sa.ColumnElement[bool] = _OPERATORS[term.op](column, _literal(term.value))
    return condition


def _literal(value: str | int | float) -> sa.ColumnElement[Any]:
    """The value as a literal of its own type; the type of an integer column would round 2.5."""
    match value:
        case str():
            return sa.literal(str(value), Name)
        case int() if -(2**63) <= value < 2**63:
            return sa.literal(value, sa.BigInteger())
        case _:
            return sa.literal(float(value), sa.Double())
