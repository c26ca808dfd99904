"""Filter terms as SQL conditions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from ipserver.store.records.filters import Comparison, Filter, Junction, Negation
from ipserver.store.records.networks import AXES
from ipserver.store.summary import VALUES
from ipserver.store.tables import Name, audit, experiments, runs

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
            "committed_steps",
            "pack",
            "start_time",
            "end_time",
            *VALUES,
        )
    },
}
EXPERIMENT_FIELDS: Mapping[str, sa.Column[Any]] = {
    "experiment": experiments.c.id,
    "state": experiments.c.state,
    "priority": experiments.c.priority,
    "project": experiments.c.project,
    "owner": experiments.c.owned_by,
    **{name: experiments.c[name] for name in ("create_time", "start_time", "end_time")},
}
AUDIT_FIELDS: Mapping[str, sa.Column[Any]] = {
    name: audit.c[name] for name in ("user", "method", "resource", "project", "peer", "code", "time")
}

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def run_condition(where: Filter) -> sa.ColumnElement[bool]:
    """A condition on `runs`. A comparison with an absent value is false.

    Raises:
        ValueError: Runs have no such field.
    """
    return _condition(where, RUN_FIELDS.get)


def experiment_condition(where: Filter) -> sa.ColumnElement[bool]:
    """A condition on `experiments`, as `run_condition`. A comparison with an absent label is false."""

    def column(field: str) -> sa.ColumnElement[Any] | None:
        space, dot, key = field.partition(".")
        if space == "labels" and dot:
            return sa.type_coerce(experiments.c.labels[key].as_string(), Name)
        return EXPERIMENT_FIELDS.get(field)

    return _condition(where, column)


def audit_condition(where: Filter) -> sa.ColumnElement[bool]:
    """A condition on `audit`, as `run_condition`."""
    return _condition(where, AUDIT_FIELDS.get)


def holds(term: Comparison, value: str | int | float | None) -> bool:
    """Whether a value satisfies a comparison, as in the store's conditions."""
    return value is not None and bool(_OPERATORS[term.op](value, term.value))


def _condition(
    where: Filter, column: Callable[[str], sa.ColumnElement[Any] | None]
) -> sa.ColumnElement[bool]:
    match where:
        case Junction(word, parts):
            inner = [_condition(part, column) for part in parts]
            return sa.and_(sa.true(), *inner) if word == "AND" else sa.or_(sa.false(), *inner)
        case Negation(part):
            return sa.not_(sa.func.coalesce(_condition(part, column), sa.false()))
        case Comparison():
            return _comparison(column(where.field), where)
    raise TypeError(f"not a filter: {where!r}")


def _comparison(column: sa.ColumnElement[Any] | None, term: Comparison) -> sa.ColumnElement[bool]:
    if column is None:
        raise ValueError(f"there is no field {term.field!r}")
    condition: sa.ColumnElement[bool] = _OPERATORS[term.op](column, literal(term.value))
    return condition


def literal(value: str | int | float) -> sa.ColumnElement[Any]:
    """The value as a literal of its own type; the type of an integer column would round 2.5."""
    match value:
        case str():
            return sa.literal(str(value), Name)
        case int() if -(2**63) <= value < 2**63:
            return sa.literal(value, sa.BigInteger())
        case _:
            return sa.literal(float(value), sa.Double())
