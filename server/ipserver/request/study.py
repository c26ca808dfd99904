"""From the spec of a study to a question, and what is wrong with it."""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from ipcore import studies, theory
from ipcore.catalogue import PROBES, DatasetInfo
from ipcore.limits.kinds import NoLimit, limit_of
from ipcore.planning.machine import DEFAULT_CPU
from ipcore.planning.memory import run_memory_bytes
from ipcore.probes.quantities import QUANTITIES, definition
from iplab.v1 import spec_pb2
from iplab.v1 import study_pb2 as pb
from iplab.v1 import study_service_pb2 as service_pb2
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.convert import pack_config, parameterization
from ipserver.request.datasets import check_dataset
from ipserver.request.ids import under_free_id
from ipserver.request.limit_studies import limit_seconds, stand_in, unpaired_limits, widest_beside_limit
from ipserver.request.models import model_of, parameterization_depth
from ipserver.request.predict import block_matrices, normalization, not_covered
from ipserver.request.problems import Problems, shown
from ipserver.request.validate import (
    Checked,
    canonical_uuid,
    check_envelope,
    check_request_id,
    check_spec,
)
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.studies import NewStudy, StudyRecord

if TYPE_CHECKING:
    from ipserver.store import Store

FIRST_RATE: Final = 0.125
ERROR_RATE: Final = 0.05
# Label of the experiments of a study.
LABEL: Final = "study"
_BASE: Final = "study.spec.base"
_COST_WIDTH: Final = 1024
# A study goes no further than this, whatever limits and memory allow.
_WIDEST: Final = 8192
_COST_RUNS: Final = 8
# What runs record without a probe: in their summaries, or in the weights that they keep.
_ALWAYS: Final = frozenset(
    {studies.FINAL_LOSS.quantity, studies.FIRST_LOSS.quantity, studies.FINAL_ACCURACY.quantity}
) | {studies.CALIBRATED, studies.OUTPUTS, studies.FINAL_LIMIT_ERROR.quantity}
_UPDATES: Final = frozenset({studies.ISOLATED, studies.ISOLATED_BIAS})
# The kind of question whose runs have their limits beside them.
_BESIDE_LIMIT: Final = studies.InfiniteWidth.kind.replace("-", "_")
KINDS: Final = {kind.kind.replace("-", "_"): kind for kind in studies.KINDS}


@dataclass(frozen=True, slots=True)
class CheckedStudy:
    """What a valid request amounts to.

    Attributes:
        spec: With its defaults filled in.
        warnings: What is allowed but worth knowing.
    """

    spec: pb.StudySpec
    warnings: tuple[str, ...]


def create_study(store: Store, request: service_pb2.CreateStudyRequest, limits: Limits) -> StudyRecord:
    """Accept a study; the first answer again if the request is a repetition.

    Raises:
        InvalidRequest: Every wrong field is named.
        AlreadyExists: The id is taken.
        RequestIdReused: The request id was used with another request.
    """
    if first := repeated_study(store, request):
        return first
    return accept_study(store, request, check_study(request, limits, store.capacity()))


def repeated_study(store: Store, request: service_pb2.CreateStudyRequest) -> StudyRecord | None:
    """The study that an earlier request of the same id created, or None. Raises RequestIdReused."""
    request_id = canonical_uuid(request.request_id)
    return store.find_study_request(request_id, _request_hash(request)) if request_id else None


def accept_study(
    store: Store, request: service_pb2.CreateStudyRequest, checked: CheckedStudy, owned_by: str = ""
) -> StudyRecord:
    """Write down what a valid request asks for. Raises as `create_study`, but nothing is checked."""
    request_id, request_hash = canonical_uuid(request.request_id), _request_hash(request)
    study = request.study

    def made() -> StudyRecord:
        new = NewStudy(
            id=request.study_id or f"{kind_of(checked.spec).replace('_', '-')}-{secrets.token_hex(3)}",
            uid=str(uuid.uuid4()),
            request_id=request_id,
            request_hash=request_hash,
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
    """The label that the service sets itself may not be given."""
    if LABEL in study.labels:
        problems.add("study.labels", f"the key {LABEL!r} is set by the service; leave it out")


def check_study(
    request: service_pb2.CreateStudyRequest, limits: Limits, capacity: CapacityReport | None
) -> CheckedStudy:
    """Check a request as a whole.

    Args:
        request: As it came.
        limits: Of this service.
        capacity: What a dispatcher saw last; None: nothing is known.

    Raises:
        InvalidRequest: Something is wrong; every wrong field is named.
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
        problems.add(_BASE, "is required: it says what is trained")
    if not (spec.HasField("base") and kind_of(spec) in KINDS):
        raise InvalidRequest(problems.found)
    problems.found += _chosen_by_us(spec)
    filled = with_study_defaults(spec)
    checked = _checked_base(filled, limits, capacity, problems)
    filled.base.CopyFrom(checked.spec)
    filled.base.grid.ClearField("seeds")
    filled.base.record.ClearField("probes")  # chosen for every round
    problems.found += _question_problems(filled, limits, capacity)
    if problems.found:
        raise InvalidRequest(problems.found)
    return CheckedStudy(filled, checked.warnings)


def with_study_defaults(spec: pb.StudySpec) -> pb.StudySpec:
    """A copy with first widths, the first rate and the error rate written out.

    What `ipcore.studies` chooses by kind (tolerance, steps) stays out.
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
    if kind_of(filled) == _BESIDE_LIMIT:
        # Experiments of a study have it or not; here it lets the validator of experiments look at the limits.
        grid.infinite_width = True
        filled.base.record.weights = "none"
    if kind_of(filled) == "coordinate_check" and not filled.coordinate_check.HasField("isolated"):
        filled.coordinate_check.isolated = True
    return filled


def kind_of(spec: pb.StudySpec) -> str:
    """Name of the field that holds the question; "": none is given."""
    return spec.WhichOneof("question") or ""


def question_of(spec: pb.StudySpec, limits: Limits, capacity: CapacityReport | None) -> studies.Question:
    """The question of a stored spec, on this service.

    Args:
        spec: Valid, with its defaults filled in.
        limits: They bound the widths that a study may go to.
        capacity: How many cores there are.

    Raises:
        InvalidRequest: The dataset is not there any more.
        TheoryError: A reference is neither a label nor a preset that fits.
        ValueError, ZeroDivisionError: A boundary is no exact number.
    """
    base, kind = spec.base, kind_of(spec)
    message = getattr(spec, kind)
    problems = Problems()
    info = check_dataset(base.dataset, f"{_BASE}.dataset", capacity, problems)
    if info is None:
        raise InvalidRequest(problems.found)
    budget, max_width = spec.budget, _max_width(base, info, limits)
    own = _own_settings(message)
    if kind == _BESIDE_LIMIT:
        own["without_limit"] = tuple(_without_limit(spec))
    return KINDS[kind](
        subjects=tuple(subjects(spec)),
        setting=studies.Setting(
            optimizer=base.optimizer.name,
            loss=base.loss,
            steps=base.steps,
            not_covered=not_covered(base) or "",
            block_matrices=block_matrices(model_of(base)),
            normalization=normalization(model_of(base)),
        ),
        budget=studies.Budget(
            runs=budget.runs if budget.HasField("runs") else None,
            core_hours=budget.core_hours if budget.HasField("core_hours") else None,
            wall_seconds=budget.wall_seconds if budget.HasField("wall_seconds") else None,
        ),
        tolerance=spec.tolerance if spec.HasField("tolerance") else None,
        error_rate=spec.error_rate,
        widths=tuple(base.grid.widths),
        max_width=max_width,
        run_cost=_run_cost(base, info, max_width),
        cores=max(1.0, capacity.resources.get("cpus", 1.0) if capacity else 1.0),
        **own,
    )


def subjects(spec: pb.StudySpec) -> Iterator[studies.Subject]:
    """Every parameterization at every depth with every activation."""
    base = spec.base
    references = spec.coordinate_check.references if kind_of(spec) == "coordinate_check" else {}
    entries = {entry.label: entry for entry in base.grid.parameterizations}
    for entry in base.grid.parameterizations:
        rates = entry.base_learning_rates or base.grid.base_learning_rates
        for hidden_layers in base.grid.hidden_layers:
            depth = parameterization_depth(base, hidden_layers)
            own = parameterization(entry, depth, base.optimizer.name)
            meant = own
            if reference := references.get(entry.label, ""):
                other = entries.get(reference) or spec_pb2.ParameterizationSpec(preset=reference)
                meant = parameterization(other, depth, base.optimizer.name)
            for activation in base.grid.activations:
                yield studies.Subject(
                    label=entry.label,
                    exponents=meant,
                    activation=activation,
                    rate=rates[0],
                    trained=own if reference else None,
                    calibrated=entry.HasField("calibration"),
                )


def _without_limit(spec: pb.StudySpec) -> Iterator[str]:
    """Subjects whose limit is not computed, but for which far wider networks stand."""
    base = spec.base
    for subject in subjects(spec):
        limit = limit_of(
            subject.exponents,
            subject.activation,
            base.optimizer.name,
            calibrated=subject.calibrated,
            weight_decay=base.optimizer.weight_decay,
            model=model_of(base),
        )
        if isinstance(limit, NoLimit) and limit.wider:
            yield str(subject)


def metrics_of(question: studies.Question) -> tuple[studies.Metric, ...]:
    """What every run of the study records, whatever it may spend."""
    decision = studies.plan(replace(question, budget=studies.Budget()), studies.Results())
    return decision.metrics if isinstance(decision, studies.RunNext) else ()


def probe_of(metric: studies.Metric) -> str | None:
    """The probe that records a metric, "" if every run does; None: this version does not record it."""
    return "" if metric.quantity in _ALWAYS else _probed().get(metric.quantity)


def recorded_step(metric: studies.Metric) -> int:
    """Step at which a run records a metric: an update by the rates of step t leads to state t + 1."""
    return metric.step + (metric.quantity in _UPDATES)


@functools.cache
def _probed() -> dict[str, str]:
    inside = {quantity.name: probe for probe, named in QUANTITIES.items() for quantity in named}
    sums = {name.partition("/")[0]: probe for probe in PROBES for name in definition(probe).metrics}
    return inside | sums


def _own_settings(message: Any) -> dict[str, Any]:
    """Settings of one kind of question; fields of the message have their names."""
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if descriptor.name == "references":
            continue
        if descriptor.name == "boundary":
            found["boundary"] = Fraction(value)
        else:
            found[descriptor.name] = tuple(value) if descriptor.is_repeated else value
    return found


def _chosen_by_us(spec: pb.StudySpec) -> Iterator[FieldViolation]:
    base = spec.base
    if base.grid.infinite_width and kind_of(spec) != _BESIDE_LIMIT:
        text = "has inf, but this study compares finite widths: leave it out, or ask infinite-width"
        yield FieldViolation(f"{_BASE}.grid.widths", text)
    if base.grid.seeds:
        yield FieldViolation(f"{_BASE}.grid.seeds", "are chosen by the study; leave them out")
    if base.record.HasField("probes"):
        yield FieldViolation(f"{_BASE}.record.probes", "are chosen by the study; leave them out")
    rates = {f"{_BASE}.grid.base_learning_rates": base.grid.base_learning_rates}
    for i, entry in enumerate(base.grid.parameterizations):
        rates[f"{_BASE}.grid.parameterizations[{i}].base_learning_rates"] = entry.base_learning_rates
    for path, given in rates.items():
        if len(given) > 1:
            yield FieldViolation(path, f"has {len(given)} rates; a study takes one, to start with")


def _checked_base(
    filled: pb.StudySpec, limits: Limits, capacity: CapacityReport | None, problems: Problems
) -> Checked:
    """The base as a spec of one seed, by the validator of experiments."""
    base = spec_pb2.ExperimentSpec()
    base.CopyFrom(filled.base)
    del base.grid.seeds[:]
    base.grid.seeds.append(0)
    try:
        # Only a study of distances has infinite width, and may go without the limits.
        return check_spec(base, limits, capacity, Problems(), stand_ins=True)
    except InvalidRequest as error:
        problems.found += [
            FieldViolation(re.sub(r"^experiment\.spec", _BASE, wrong.field), wrong.message)
            for wrong in error.violations
        ]
        raise InvalidRequest(problems.found) from None


def _question_problems(
    spec: pb.StudySpec, limits: Limits, capacity: CapacityReport | None
) -> list[FieldViolation]:
    """What is wrong with the question itself, by the names of the request."""
    kind = kind_of(spec)
    here = f"study.spec.{kind}"
    try:
        question = question_of(spec, limits, capacity)
    except theory.TheoryError as error:
        return [FieldViolation(f"{here}.references", error.text)]
    except (ValueError, ZeroDivisionError):
        text = f"{shown(spec.phase_boundary.boundary)} is not an exact number such as 1/2 or 0.5"
        return [FieldViolation(f"{here}.boundary", text)]
    if kind == _BESIDE_LIMIT and (wrong := list(unpaired_limits(spec.base))):
        return [FieldViolation(f"{_BASE}.{place}", text) for place, text in wrong]
    if found := studies.problems(question):
        return [
            FieldViolation(_field_of(problem.field, here), _text_of(problem, question)) for problem in found
        ]
    missing = sorted({metric.quantity for metric in metrics_of(question) if probe_of(metric) is None})
    if not missing:
        steps = max((recorded_step(metric) for metric in metrics_of(question)), default=0)
        text = f"must be at least {steps}, not {spec.base.steps}: the study measures up to that update"
        return [FieldViolation(f"{_BASE}.steps", text)] if steps > spec.base.steps else []
    text = f"needs {', '.join(missing)}, which this version does not record; ask another question"
    return [FieldViolation(here, text)]


def _field_of(field: str, here: str) -> str:
    if field.startswith("subjects"):
        return f"{_BASE}.grid.parameterizations"
    if field == "widths":
        return f"{_BASE}.grid.widths"
    if field.partition(".")[0] in {"tolerance", "error_rate", "budget"}:
        return f"study.spec.{field}"
    return f"{here}.{field}"


def _text_of(problem: studies.Problem, question: studies.Question) -> str:
    """The text, which begins with the subject that it is about: requests do not number subjects."""
    about = re.match(r"subjects\[(\d+)\]", problem.field)
    text = re.sub(r"subjects\[\d+\], ", "", problem.text).replace("setting.steps", "steps of the base")
    return f"{question.subjects[int(about[1])]}: {text}" if about else text


def _max_width(base: spec_pb2.ExperimentSpec, info: DatasetInfo, limits: Limits) -> int:
    """The widest network, by doubling, that limits and memory allow, also of what is 16 times wider."""
    width = max(base.grid.widths)
    while 2 * width <= min(limits.max_width, _WIDEST, widest_beside_limit(base)) and all(
        run_memory_bytes(pack_config(base, shape), info) <= limits.max_run_memory_bytes
        for shape in _shapes(base, 2 * width)
    ):
        wider = stand_in(base, info, 2 * width) if base.grid.infinite_width else None
        if wider and (wider.width > limits.max_width or wider.memory_bytes > limits.max_run_memory_bytes):
            break
        width *= 2
    return width


def _shapes(base: spec_pb2.ExperimentSpec, width: int) -> Iterator[NetworkShape]:
    for hidden_layers in base.grid.hidden_layers:
        yield NetworkShape(hidden_layers, width, base.grid.activations[0])


def _run_cost(base: spec_pb2.ExperimentSpec, info: DatasetInfo, max_width: int) -> studies.RunCost:
    """What a run costs on an ordinary core, until some are measured."""
    seconds = max(
        DEFAULT_CPU.update_seconds(pack_config(base, shape), info, _COST_RUNS) / _COST_RUNS
        for shape in _shapes(base, _COST_WIDTH)
    )
    run = studies.RunCost(base.steps * seconds, _COST_WIDTH)
    if not base.grid.infinite_width:
        return run
    deferred, width = [], max(base.grid.widths)
    while width <= max_width and (wider := stand_in(base, info, width)) is not None:
        deferred.append((wider.width, wider.seconds))
        width *= 2
    return replace(run, limit=limit_seconds(base, info), deferred=tuple(deferred))


def _request_hash(request: service_pb2.CreateStudyRequest) -> str:
    body = service_pb2.CreateStudyRequest()
    body.CopyFrom(request)
    body.ClearField("request_id")
    body.ClearField("validate_only")
    if body.study.project == names.DEFAULT_PROJECT:
        body.study.ClearField("project")  # it may have been filled in
    return hashlib.sha256(body.SerializeToString(deterministic=True)).hexdigest()
