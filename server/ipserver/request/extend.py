"""Checks an extension: more seeds, widths or base learning rates for the grid of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from iplab.v1 import experiment_service_pb2 as service_pb2
from iplab.v1 import spec_pb2
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.expand import expand
from ipserver.request.hashes import request_hash
from ipserver.request.problems import Problems, shown
from ipserver.request.stored import stored_spec
from ipserver.request.validate import Checked, canonical_uuid, check_request_id, check_spec
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.experiments import ExperimentRecord, Extension
from ipserver.store.transitions import extension_problem

# Fields of the grid that an extension may add to, with the word for one value.
AXES: Final = {"seeds": "seed", "widths": "width", "base_learning_rates": "base learning rate"}
_GRID: Final = "experiment.spec.grid"

Added = Mapping[str, tuple[Any, ...]]


def check_extend(
    request: service_pb2.ExtendExperimentRequest,
    experiment: ExperimentRecord,
    limits: Limits,
    capacity: CapacityReport | None,
) -> Extension:
    """Check a request against the stored experiment, and number the new runs.

    The extended spec must pass the checks of a new one, so an extension cannot create an experiment that
    could not have been submitted as a whole.

    Args:
        request: As received.
        experiment: As stored.
        limits: Limits of this service.
        capacity: The last capacity report; None: no dispatcher has reported.

    Raises:
        InvalidRequest: The request is invalid; every wrong field is named.
    """
    problems = Problems()
    check_request_id(request.request_id, problems)
    if text := extension_problem(experiment.state, deleted=experiment.delete_time is not None):
        problems.add("name", text)
    before = stored_spec(experiment.spec)
    added = {axis: _added(request, axis, before.grid, problems) for axis in AXES}
    if not any(getattr(request, axis) for axis in AXES):
        problems.add("seeds", f"is empty, and so are the other axes; give at least one of {', '.join(AXES)}")
    own_rates = all(entry.base_learning_rates for entry in before.grid.parameterizations)
    if added["base_learning_rates"] and own_rates:
        problems.add(
            "base_learning_rates",
            "add no runs: every parameterization of this experiment has rates of its own; leave them out",
        )
    checked = _checked(before, added, limits, capacity, problems)
    known = {replace(run, index=0) for run in expand(before)}
    new = (run for run in checked.runs if replace(run, index=0) not in known)
    return Extension(
        request_id=canonical_uuid(request.request_id),
        request_hash=request_hash(request),
        extended_hash=experiment.spec_hash,
        added={axis: values for axis, values in added.items() if values},
        runs=tuple(replace(run, index=index) for index, run in enumerate(new, len(known))),
        spec=checked.spec.SerializeToString(deterministic=True),
        spec_hash=checked.spec_hash,
        run_memory_bytes=checked.run_memory_bytes,
        warnings=checked.warnings,
    )


def _added(
    request: service_pb2.ExtendExperimentRequest, axis: str, grid: spec_pb2.Grid, problems: Problems
) -> tuple[Any, ...]:
    """The distinct new values of one axis. Duplicates and values that the grid has become violations."""
    present: set[Any] = set(getattr(grid, axis))
    first_at: dict[Any, int] = {}
    for i, value in enumerate(getattr(request, axis)):
        if value in present:
            text = f"the experiment has the {AXES[axis]} {shown(value)} already; leave it out"
            problems.add(f"{axis}[{i}]", text)
        elif value in first_at:
            text = f"{shown(value)} is there twice (also at [{first_at[value]}]); remove one"
            problems.add(f"{axis}[{i}]", text)
        else:
            first_at[value] = i
    return tuple(first_at)


def _checked(
    before: spec_pb2.ExperimentSpec,
    added: Added,
    limits: Limits,
    capacity: CapacityReport | None,
    problems: Problems,
) -> Checked:
    """Check the extended spec as a new one, and report its violations by the request's fields."""
    spec = spec_pb2.ExperimentSpec()
    spec.CopyFrom(before)
    for axis, values in added.items():
        getattr(spec.grid, axis).extend(values)
    try:
        checked = check_spec(spec, limits, capacity, Problems())
    except InvalidRequest as error:
        problems.found += _renamed(error.violations, before.grid, added)
        raise InvalidRequest(problems.found) from None
    if problems.found:
        raise InvalidRequest(problems.found)
    return checked


def _renamed(
    violations: Sequence[FieldViolation], grid: spec_pb2.Grid, added: Added
) -> Iterator[FieldViolation]:
    """Violations of the extended spec as violations of the request.

    Violations of the grid as a whole, or of other fields, are attributed to the first axis given.
    """
    first = next((axis for axis, values in added.items() if values), "name")
    for wrong in violations:
        found = re.fullmatch(rf"{re.escape(_GRID)}\.(\w+)\[(\d+)\]", wrong.field)
        axis, place = (found[1], int(found[2])) if found else ("", -1)
        if axis in AXES and place >= (offset := len(getattr(grid, axis))):
            yield FieldViolation(f"{axis}[{place - offset}]", wrong.message)
        elif wrong.field == _GRID:
            yield FieldViolation(first, f"the extended grid {wrong.message}")
        else:
            text = f"the extended spec would not be accepted: {wrong.field}: {wrong.message}"
            yield FieldViolation(first, text)
