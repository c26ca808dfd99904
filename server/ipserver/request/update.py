"""Checks updates of experiments and studies: masks name what may change, to valid values (AIP-134, 161)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from ipcore.errors import nearest
from iplab.v1 import experiment_pb2, study_pb2, study_service_pb2
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.errors import InvalidRequest
from ipserver.request.checking import check_value
from ipserver.request.defaults import with_defaults
from ipserver.request.fields import fields_of
from ipserver.request.problems import Problems, shown
from ipserver.request.question import KINDS, kind_of
from ipserver.request.stored import stored_spec
from ipserver.request.study import check_study_labels, with_study_defaults
from ipserver.request.validate import check_envelope, check_label_key
from ipserver.store.records.experiments import ExperimentRecord, Revision
from ipserver.store.records.studies import StudyRecord

Described = experiment_pb2.Experiment | study_pb2.Study

_UPDATABLE: Final = ("display_name", "labels", "notes", "priority")
_ONE_LABEL: Final = "labels."
_MASK: Final = "update_mask"
_MAY: Final = "what may be updated: display_name, labels, labels.KEY, notes, priority"
# Fields that are fixed on creation.
_FIXED: Final = {
    "spec": "never changes; ExtendExperiment adds to its grid, and a new experiment may have any other spec",
    "project": "never changes; submit it anew in the other project",
    "name": "never changes",
}
_FIXED_OF_STUDY: Final = {**_FIXED, "spec": "never changes; ask a new study"}


@dataclass(frozen=True, slots=True)
class _Update:
    """An update of an experiment or a study.

    Attributes:
        given: The new values.
        asked: Paths of the mask.
        place: Name of the field of the request that holds the values.
        fixed: Fields that never change, with the message for each.
        differs: Whether the request's spec differs from the stored one.
        project: The stored project.
    """

    given: Described
    asked: tuple[str, ...]
    place: str
    fixed: Mapping[str, str]
    differs: bool
    project: str


def check_update(request: pb.UpdateExperimentRequest, before: ExperimentRecord, limits: Limits) -> Revision:
    """Check a request; return the changes.

    Args:
        request: As received.
        before: The experiment as stored.
        limits: Limits of this service.

    Raises:
        InvalidRequest: Something is wrong; every wrong field and path is named.
    """
    given = request.experiment
    differs = given.HasField("spec") and (
        with_defaults(given.spec) != with_defaults(stored_spec(before.spec))
    )
    asked = _asked(request.update_mask)
    update = _Update(given, asked, "experiment", _FIXED, differs, before.project)
    return _revision(update, limits, Problems())


def check_study_update(
    request: study_service_pb2.UpdateStudyRequest, before: StudyRecord, limits: Limits
) -> Revision:
    """As `check_update`, for a study."""
    given, problems = request.study, Problems()
    stored = study_pb2.StudySpec.FromString(before.spec)
    differs = given.HasField("spec") and (
        kind_of(given.spec) not in KINDS or with_study_defaults(given.spec) != with_study_defaults(stored)
    )
    asked = _asked(request.update_mask)
    check_study_labels(given, problems)
    return _revision(
        _Update(given, asked, "study", _FIXED_OF_STUDY, differs, before.project), limits, problems
    )


def _revision(update: _Update, limits: Limits, problems: Problems) -> Revision:
    given = update.given
    paths = _paths(update, problems)
    # Only fields that the mask names are checked: callers may send back a whole resource as they got it.
    changed = type(given)()
    for path in paths:
        if path in ("display_name", "notes", "priority"):
            setattr(changed, path, getattr(given, path))
        elif path == "labels":
            changed.labels.update(given.labels)
    check_envelope(changed, update.place, limits, problems)
    single = _single_labels(paths, update, limits, problems)
    if problems.found:
        raise InvalidRequest(problems.found)
    values: dict[str, Any] = {path: getattr(changed, path) for path in _UPDATABLE if path in paths}
    if "labels" in values:
        values["labels"] = dict(changed.labels)
    return Revision(etag=given.etag, values=values, labels=single)


def _single_labels(
    paths: Sequence[str], update: _Update, limits: Limits, problems: Problems
) -> dict[str, str | None]:
    """New values of the labels that the mask names one by one; None removes a label."""
    found: dict[str, str | None] = {}
    for path in paths:
        if path.startswith(_ONE_LABEL):
            key = path.removeprefix(_ONE_LABEL)
            found[key] = update.given.labels.get(key)
            if (value := found[key]) is not None:
                place = f'{update.place}.labels["{key}"]'
                check_value(fields_of(update.given)["labels"], value, place, limits, problems)
    return found


def _asked(mask: FieldMask) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mask.paths))


def _paths(update: _Update, problems: Problems) -> tuple[str, ...]:
    """The paths to change. Unknown paths and fields that cannot change become violations."""
    given, asked = update.given, update.asked
    if asked and asked != ("*",):
        return tuple(path for path in asked if _may_change(path, update, problems))
    if update.differs:
        problems.add(f"{update.place}.spec", update.fixed["spec"])
    if given.project not in ("", update.project):
        problems.add(f"{update.place}.project", update.fixed["project"])
    if asked:
        return _UPDATABLE
    implied = tuple(path for path in _UPDATABLE if getattr(given, path))
    if not implied:
        problems.add(_MASK, f"is empty, and nothing is given that could be updated; {_MAY}")
    return implied


def _may_change(path: str, update: _Update, problems: Problems) -> bool:
    if path.startswith(_ONE_LABEL):
        if "labels" in update.asked:
            problems.add(
                _MASK, f"has 'labels', which are all of them, and {shown(path)}; keep one of the two"
            )
            return False
        return check_label_key(path.removeprefix(_ONE_LABEL), _MASK, problems)
    if path in _UPDATABLE:
        return True
    known = fields_of(type(update.given))
    field = path.partition(".")[0]
    if path == "*":
        text = "'*' means everything that may be updated; use it alone"
    elif field in update.fixed:
        text = f"{shown(path)} {update.fixed[field]}"
    elif field in known and field not in _UPDATABLE:
        text = f"{shown(path)} is set by the service"
    else:
        close = nearest(path, _UPDATABLE)
        text = f"unknown path {shown(path)}" + (f"; did you mean {close!r}?" if close else "")
    problems.add(_MASK, f"{text}; {_MAY}")
    return False
