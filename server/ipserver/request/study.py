"""Checks and stores studies."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipcore import studies, theory
from iplab.v1 import spec_pb2
from iplab.v1 import study_pb2 as pb
from iplab.v1 import study_service_pb2 as service_pb2
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.hashes import request_hash
from ipserver.request.ids import under_free_id
from ipserver.request.limit_studies import paired_subjects
from ipserver.request.measured import metrics_of, probe_of, recorded_step
from ipserver.request.problems import Problems, shown
from ipserver.request.question import BASE, BESIDE_LIMIT, KINDS, kind_of, question_of
from ipserver.request.validate import (
    Checked,
    canonical_uuid,
    check_envelope,
    check_request_id,
    check_spec,
)
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.studies import NewStudy, StudyRecord

if TYPE_CHECKING:
    from ipserver.store import Store

FIRST_RATE: Final = 0.125
ERROR_RATE: Final = 0.05
# Label of the experiments of a study.
LABEL: Final = "study"


@dataclass(frozen=True, slots=True)
class CheckedStudy:
    """Contents of a valid request.

    Attributes:
        spec: With its defaults filled in.
        warnings: Allowed but noteworthy properties of the request.
    """

    spec: pb.StudySpec
    warnings: tuple[str, ...]


def create_study(store: Store, request: service_pb2.CreateStudyRequest, limits: Limits) -> StudyRecord:
    """Accept a study. A repeated request gets the first answer again.

    Raises:
        InvalidRequest: The request is invalid; every wrong field is named.
        AlreadyExists: The id is taken.
        RequestIdReused: The request id was used with another request.
    """
    if first := repeated_study(store, request):
        return first
    return accept_study(store, request, check_study(request, limits, store.capacity()))


def repeated_study(store: Store, request: service_pb2.CreateStudyRequest) -> StudyRecord | None:
    """The study that an earlier request of the same id created, or None. Raises RequestIdReused."""
    request_id = canonical_uuid(request.request_id)
    return store.find_study_request(request_id, request_hash(request)) if request_id else None


def accept_study(
    store: Store, request: service_pb2.CreateStudyRequest, checked: CheckedStudy, owned_by: str = ""
) -> StudyRecord:
    """Store the study of a checked request. Raises the errors of `create_study`."""
    request_id, digest = canonical_uuid(request.request_id), request_hash(request)
    study = request.study

    def made() -> StudyRecord:
        new = NewStudy(
            id=request.study_id or f"{kind_of(checked.spec).replace('_', '-')}-{secrets.token_hex(3)}",
            uid=str(uuid.uuid4()),
            request_id=request_id,
            request_hash=digest,
            display_name=study.display_name,
            labels=dict(study.labels),
            priority=study.priority,
            spec=checked.spec.SerializeToString(deterministic=True),
            warnings=checked.warnings,
            project=study.project or names.DEFAULT_PROJECT,
            owned_by=owned_by,
            notes=study.notes,
        )
        return store.create_study(new)

    return under_free_id(made, request.study_id, "study")


def check_study_labels(study: pb.Study, problems: Problems) -> None:
    """Refuse the label key that the service sets."""
    if LABEL in study.labels:
        problems.add("study.labels", f"the key {LABEL!r} is set by the service; leave it out")


def check_study(
    request: service_pb2.CreateStudyRequest, limits: Limits, capacity: CapacityReport | None
) -> CheckedStudy:
    """Check a request as a whole.

    Args:
        request: As received.
        limits: Limits of this service.
        capacity: The last capacity report; None: no dispatcher has reported.

    Raises:
        InvalidRequest: The request is invalid; every wrong field is named.
    """
    problems = Problems()
    if request.study_id and not names.is_study_id(request.study_id):
        problems.add("study_id", f"{shown(request.study_id)} is not an id: {names.STUDY_ID_RULE}")
    check_request_id(request.request_id, problems)
    check_envelope(request.study, "study", limits, problems)
    check_study_labels(request.study, problems)
    spec = request.study.spec
    if kind_of(spec) not in KINDS:
        known = ", ".join(sorted(KINDS))
        problems.add("study.spec.question", f"is required; ask one of {known}")
    if not spec.HasField("base"):
        problems.add(BASE, "is required: it says what is trained")
    if not (spec.HasField("base") and kind_of(spec) in KINDS):
        raise InvalidRequest(problems.found)
    problems.found += _chosen_by_us(spec)
    filled = with_study_defaults(spec)
    checked = _checked_base(filled, limits, capacity, problems)
    filled.base.CopyFrom(checked.spec)
    filled.base.grid.ClearField("seeds")
    filled.base.record.ClearField("probes")  # each round chooses its own
    problems.found += _question_problems(filled, limits, capacity)
    if problems.found:
        raise InvalidRequest(problems.found)
    return CheckedStudy(filled, checked.warnings)


def with_study_defaults(spec: pb.StudySpec) -> pb.StudySpec:
    """A copy with the first widths, the first rate and the error rate filled in.

    Defaults that `ipcore.studies` chooses by kind (tolerance, steps) stay unset.
    """
    filled = pb.StudySpec()
    filled.CopyFrom(spec)
    grid = filled.base.grid
    if not grid.widths:
        grid.widths.extend(KINDS[kind_of(spec)].default_widths)
    if not grid.base_learning_rates and not all(p.base_learning_rates for p in grid.parameterizations):
        grid.base_learning_rates.append(FIRST_RATE)
    if not filled.HasField("error_rate"):
        filled.error_rate = ERROR_RATE
    if kind_of(filled) == BESIDE_LIMIT:
        # Makes the validator of experiments check the limits; each experiment sets its own value.
        grid.infinite_width = True
        filled.base.record.weights = "none"
    if kind_of(filled) == "coordinate_check" and not filled.coordinate_check.HasField("isolated"):
        filled.coordinate_check.isolated = True
    return filled


def _chosen_by_us(spec: pb.StudySpec) -> Iterator[FieldViolation]:
    base = spec.base
    if base.grid.infinite_width and kind_of(spec) != BESIDE_LIMIT:
        text = "has inf, but this study compares finite widths: leave it out, or ask infinite-width"
        yield FieldViolation(f"{BASE}.grid.widths", text)
    if base.grid.seeds:
        yield FieldViolation(f"{BASE}.grid.seeds", "are chosen by the study; leave them out")
    if base.record.HasField("probes"):
        yield FieldViolation(f"{BASE}.record.probes", "are chosen by the study; leave them out")
    rates = {f"{BASE}.grid.base_learning_rates": base.grid.base_learning_rates}
    for i, entry in enumerate(base.grid.parameterizations):
        rates[f"{BASE}.grid.parameterizations[{i}].base_learning_rates"] = entry.base_learning_rates
    for path, given in rates.items():
        if len(given) > 1:
            yield FieldViolation(path, f"has {len(given)} rates; a study takes one, to start with")


def _checked_base(
    filled: pb.StudySpec, limits: Limits, capacity: CapacityReport | None, problems: Problems
) -> Checked:
    """Check the base, with one seed, by the validator of experiments."""
    base = spec_pb2.ExperimentSpec()
    base.CopyFrom(filled.base)
    del base.grid.seeds[:]
    base.grid.seeds.append(0)
    try:
        # Only a study of distances has infinite width, and wider networks may replace its limits.
        return check_spec(base, limits, capacity, Problems(), stand_ins=True)
    except InvalidRequest as error:
        problems.found += [
            FieldViolation(re.sub(r"^experiment\.spec", BASE, wrong.field), wrong.message)
            for wrong in error.violations
        ]
        raise InvalidRequest(problems.found) from None


def _question_problems(
    spec: pb.StudySpec, limits: Limits, capacity: CapacityReport | None
) -> list[FieldViolation]:
    """Violations of the question's own rules, with the field names of the request."""
    kind = kind_of(spec)
    here = f"study.spec.{kind}"
    try:
        question = question_of(spec, limits, capacity)
    except theory.TheoryError as error:
        return [FieldViolation(f"{here}.references", error.text)]
    except (ValueError, ZeroDivisionError):
        text = f"{shown(spec.phase_boundary.boundary)} is not an exact number such as 1/2 or 0.5"
        return [FieldViolation(f"{here}.boundary", text)]
    if kind == BESIDE_LIMIT and spec.base.deferred_weights and (paired := paired_subjects(spec.base)):
        text = (
            f"networks of {', '.join(sorted(paired))} are compared with kernel machines that start from "
            "their own f_0, which deferred weights do not keep: leave it out"
        )
        return [FieldViolation(f"{BASE}.deferred_weights", text)]
    if found := studies.problems(question):
        return [
            FieldViolation(_field_of(problem.field, here), _text_of(problem, question)) for problem in found
        ]
    missing = sorted({metric.quantity for metric in metrics_of(question) if probe_of(metric) is None})
    if not missing:
        steps = max((recorded_step(metric) for metric in metrics_of(question)), default=0)
        text = f"must be at least {steps}, not {spec.base.steps}: the study measures up to that update"
        return [FieldViolation(f"{BASE}.steps", text)] if steps > spec.base.steps else []
    text = f"needs {', '.join(missing)}, which this version does not record; ask another question"
    return [FieldViolation(here, text)]


def _field_of(field: str, here: str) -> str:
    if field.startswith("subjects"):
        return f"{BASE}.grid.parameterizations"
    if field == "widths":
        return f"{BASE}.grid.widths"
    if field.partition(".")[0] in {"tolerance", "error_rate", "budget"}:
        return f"study.spec.{field}"
    return f"{here}.{field}"


def _text_of(problem: studies.Problem, question: studies.Question) -> str:
    """The message with the subject's name in place of its index, which requests do not have."""
    about = re.match(r"subjects\[(\d+)\]", problem.field)
    text = re.sub(r"subjects\[\d+\], ", "", problem.text).replace("setting.steps", "steps of the base")
    return f"{question.subjects[int(about[1])]}: {text}" if about else text
