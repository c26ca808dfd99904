"""Parses and answers SummarizeRuns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iplab.v1 import run_service_pb2 as pb
from ipserver import names
from ipserver.api import convert, paging, theory
from ipserver.api.filters import RUN_FIELDS, parse_filter
from ipserver.api.paging import PageTokens
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.reports.groups import (
    CRITERIA,
    BestGroup,
    Group,
    Runs,
    best_rate,
    summary,
)
from ipserver.store.records.filters import Filter
from ipserver.store.records.networks import AXES
from ipserver.store.summary import VALUES

if TYPE_CHECKING:
    from ipserver.store import Store

_RATE: Final = "base_learning_rate"
_GROUP_AXES: Final = ("parameterization", *AXES)
ALL_AXES: Final = (*_GROUP_AXES, _RATE, "seed")
# Axes that predictions depend on.
_PREDICTED: Final = ("parameterization", "hidden_layers", "activation")


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed request.

    Attributes:
        experiment: Id.
        where: Condition on runs.
        by: Axes that define a group.
        values: Names of the summarized values.
        best: Value by which the best rate is chosen ("" for the runs' default); None: rates are not compared.
        largest: Whether the largest value is best.
        size: Number of groups per page.
        start: Number of groups before the page.
        scope: The listing that page tokens belong to.
    """

    experiment: str
    where: Filter
    by: tuple[str, ...]
    values: tuple[str, ...]
    best: str | None
    largest: bool
    size: int
    start: int
    scope: tuple[str, ...]


def parse(request: pb.SummarizeRunsRequest, tokens: PageTokens) -> Query:
    """Parse a request. Raises InvalidRequest with all wrong fields except name, filter and page."""
    experiment = names.parse_experiment(request.parent, "parent")
    where, size = parse_filter(request.filter, RUN_FIELDS), paging.page_size(request.page_size)
    best = request.best_rate.value if request.HasField("best_rate") else None
    axes = ALL_AXES if best is None else _GROUP_AXES
    wrong = [
        *_unknown("group_by", request.group_by, axes),
        *_unknown("values", request.values, VALUES),
        *([] if not best else _unknown("best_rate.value", [best], VALUES)),
    ]
    if wrong:
        raise InvalidRequest(wrong)
    scope = (
        "groups", request.parent, request.filter, ",".join(request.group_by), ",".join(request.values),
        str(request.best_rate) if best is not None else "-",
    )  # fmt: skip
    place = tokens.read(request.page_token, *scope)
    return Query(
        experiment,
        where,
        tuple(request.group_by) or (*_GROUP_AXES, *([_RATE] if best is None else [])),
        tuple(request.values) or tuple(VALUES),
        best,
        request.best_rate.largest,
        size,
        int(place[0]) if place else 0,
        scope,
    )


def answer(store: Store, query: Query, tokens: PageTokens) -> pb.SummarizeRunsResponse:
    """One page of groups. Raises NotFound."""
    criterion = "" if query.best is None else query.best or _criterion(store, query)
    values = tuple(dict.fromkeys((*query.values, *filter(None, (criterion,)))))
    columns = (*ALL_AXES, "state", *values)
    found = store.run_groups(
        query.experiment, query.by, columns, query.where, limit=query.size + 1, start=query.start
    )
    groups = [dict(zip(columns, zip(*rows, strict=True), strict=True)) for rows in found]
    regimes = convert.regimes(store.get_experiment(query.experiment))
    return summarized(groups, criterion, query, regimes, tokens)


def summarized(
    groups: Sequence[Runs],
    criterion: str,
    query: Query,
    regimes: convert.Regimes,
    tokens: PageTokens,
) -> pb.SummarizeRunsResponse:
    """One page.

    Args:
        groups: Groups of the page, and the next one if there is one.
        criterion: The value by which rates are chosen; "" if they are not compared.
        query: The query.
        regimes: Predicted regimes.
        tokens: Makes the token of the next page.
    """
    messages = []
    for members in groups[: query.size]:
        axes = {axis: members[axis][0] for axis in query.by}
        if query.best is None:
            message = _group(summary(axes, members, query.values))
        else:
            message = _best(best_rate(axes, members, query.values, criterion, largest=query.largest))
        if set(_PREDICTED) <= axes.keys():
            message.predicted_regime = theory.regime(regimes[tuple(axes[axis] for axis in _PREDICTED)])
        messages.append(message)
    page = paging.fitting(messages)
    token = tokens.make([query.start + len(page)], *query.scope) if len(groups) > len(page) else ""
    return pb.SummarizeRunsResponse(groups=page, next_page_token=token, best_rate_value=criterion)


def _criterion(store: Store, query: Query) -> str:
    """The default criterion for the best rate."""
    *others, last = CRITERIA
    known = (value for value in others if store.has_value(query.experiment, value, query.where))
    return next(known, last)


def _group(group: Group) -> pb.RunGroup:
    return pb.RunGroup(
        **group.key,
        runs=group.runs,
        diverged=group.diverged,
        unfinished=group.unfinished,
        values=[
            pb.ValueSummary(name=name, mean=one.mean, deviation=one.deviation, count=one.count)
            for name, one in group.values.items()
        ],
    )


def _best(group: BestGroup) -> pb.RunGroup:
    message = _group(group.best)
    message.rates = len(group.rates)
    message.smallest_rate, message.largest_rate = group.rates[0], group.rates[-1]
    if group.rate is not None:
        message.base_learning_rate = group.rate
    return message


def _unknown(field: str, given: Iterable[str], known: Iterable[str]) -> Iterator[FieldViolation]:
    """Violations of a list of names."""
    seen: set[str] = set()
    for i, name in enumerate(given):
        where = field if field.startswith("best_rate") else f"{field}[{i}]"
        if name not in known:
            yield FieldViolation(where, f"{name[:80]!r} is none of {', '.join(known)}")
        elif name in seen:
            yield FieldViolation(where, f"{name!r} is there twice")
        seen.add(name)
