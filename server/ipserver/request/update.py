"""Checks an UpdateExperimentRequest: what its mask names may change, to valid values (AIP-134, AIP-161)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ipcore.errors import nearest
from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.errors import InvalidRequest
from ipserver.request.checking import check_value
from ipserver.request.defaults import with_defaults
from ipserver.request.fields import fields_of
from ipserver.request.problems import Problems, shown
from ipserver.request.stored import stored_spec
from ipserver.request.validate import check_envelope, check_label_key
from ipserver.store.records.experiments import ExperimentRecord, Revision

_UPDATABLE: Final = ("display_name", "labels", "notes", "priority")
_ONE_LABEL: Final = "labels."
_MASK: Final = "update_mask"
_MAY: Final = "what may be updated: display_name, labels, labels.KEY, notes, priority"
# Fields that were given on creation and never change.
_FIXED: Final = {
    "spec": "never changes; ExtendExperiment adds to its grid, and a new experiment may have any other spec",
    "project": "never changes; submit it anew in the other project",
    "name": "never changes",
}


def check_update(request: pb.UpdateExperimentRequest, before: ExperimentRecord, limits: Limits) -> Revision:
    """What a request amounts to.

    Args:
        request: As it came.
        before: The experiment as stored.
        limits: Of this service.

    Raises:
        InvalidRequest: Something is wrong; every wrong field and path is named.
    """
    problems = Problems()
    given = request.experiment
    paths = _paths(request, before, problems)
    # Only what is to change must be valid: callers may send back a whole experiment as they got it.
    changed = experiment_pb2.Experiment()
    for path in paths:
        if path in ("display_name", "notes", "priority"):
            setattr(changed, path, getattr(given, path))
        elif path == "labels":
            changed.labels.update(given.labels)
    check_envelope(changed, "experiment", limits, problems)
    single = _single_labels(paths, given, limits, problems)
    if problems.found:
        raise InvalidRequest(problems.found)
    values: dict[str, Any] = {path: getattr(changed, path) for path in _UPDATABLE if path in paths}
    if "labels" in values:
        values["labels"] = dict(changed.labels)
    return Revision(etag=given.etag, values=values, labels=single)


def _single_labels(
    paths: Sequence[str], given: experiment_pb2.Experiment, limits: Limits, problems: Problems
) -> dict[str, str | None]:
    """New values of the labels that the mask names one by one; None: to be removed."""
    found: dict[str, str | None] = {}
    for path in paths:
        if path.startswith(_ONE_LABEL):
            key = path.removeprefix(_ONE_LABEL)
            found[key] = given.labels.get(key)
            if (value := found[key]) is not None:
                place = f'experiment.labels["{key}"]'
                check_value(fields_of(given)["labels"], value, place, limits, problems)
    return found


def _paths(
    request: pb.UpdateExperimentRequest, before: ExperimentRecord, problems: Problems
) -> tuple[str, ...]:
    """What is to be changed; paths that mean nothing, or nothing that can be changed, are noted."""
    given = request.experiment
    asked = tuple(dict.fromkeys(request.update_mask.paths))
    if asked and asked != ("*",):
        return tuple(path for path in asked if _may_change(path, asked, problems))
    if given.HasField("spec") and with_defaults(given.spec) != with_defaults(stored_spec(before.spec)):
        problems.add("experiment.spec", _FIXED["spec"])
    if given.project not in ("", before.project):
        problems.add("experiment.project", _FIXED["project"])
    if asked:
        return _UPDATABLE
    implied = tuple(path for path in _UPDATABLE if getattr(given, path))
    if not implied:
        problems.add(_MASK, f"is empty, and nothing is given that could be updated; {_MAY}")
    return implied


def _may_change(path: str, asked: Sequence[str], problems: Problems) -> bool:
    if path.startswith(_ONE_LABEL):
        if "labels" in asked:
            problems.add(
                _MASK, f"has 'labels', which are all of them, and {shown(path)}; keep one of the two"
            )
            return False
        return check_label_key(path.removeprefix(_ONE_LABEL), _MASK, problems)
    if path in _UPDATABLE:
        return True
    known = fields_of(experiment_pb2.Experiment)
    field = path.partition(".")[0]
    if path == "*":
        text = "'*' means everything that may be updated, and stands alone"
    elif field in _FIXED:
        text = f"{shown(path)} {_FIXED[field]}"
    elif field in known and field not in _UPDATABLE:
        text = f"{shown(path)} is set by the service"
    else:
        close = nearest(path, _UPDATABLE)
        text = f"unknown path {shown(path)}" + (f"; did you mean {close!r}?" if close else "")
    problems.add(_MASK, f"{text}; {_MAY}")
    return False
