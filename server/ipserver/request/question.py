"""Converts a study's spec to the question that `ipcore.studies` answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from ipcore import studies
from ipcore.catalogue import DatasetInfo
from ipcore.limits.kinds import limit_of
from ipcore.limits.limit import NoLimit
from ipcore.planning.machine import DEFAULT_CPU
from ipcore.planning.memory import run_memory_bytes
from iplab.v1 import spec_pb2
from iplab.v1 import study_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.errors import InvalidRequest
from ipserver.request.convert import pack_config, parameterization
from ipserver.request.datasets import check_dataset
from ipserver.request.limit_studies import limit_seconds, paired_subjects, stand_in, widest_beside_limit
from ipserver.request.models import model_of, parameterization_depth
from ipserver.request.predict import block_matrices, normalization, not_covered
from ipserver.request.problems import Problems
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.networks import NetworkShape

BASE: Final = "study.spec.base"
_COST_WIDTH: Final = 1024
# Largest width of a study, whatever limits and memory allow.
_WIDEST: Final = 8192
_COST_RUNS: Final = 8
# The kind of question that compares networks with their limits.
BESIDE_LIMIT: Final = studies.InfiniteWidth.kind.replace("-", "_")
KINDS: Final = {kind.kind.replace("-", "_"): kind for kind in studies.KINDS}


def kind_of(spec: pb.StudySpec) -> str:
    """Name of the field that holds the question; "" if none is given."""
    return spec.WhichOneof("question") or ""


def question_of(spec: pb.StudySpec, limits: Limits, capacity: CapacityReport | None) -> studies.Question:
    """The question of a stored spec, on this service.

    Args:
        spec: Valid, with its defaults filled in.
        limits: Limits of this service, which bound the study's widths.
        capacity: The last capacity report, for the number of cores.

    Raises:
        InvalidRequest: The dataset no longer exists.
        TheoryError: A reference is neither a label nor a preset that fits.
        ValueError, ZeroDivisionError: A boundary is not an exact number.
    """
    base, kind = spec.base, kind_of(spec)
    message = getattr(spec, kind)
    problems = Problems()
    info = check_dataset(base.dataset, f"{BASE}.dataset", capacity, problems)
    if info is None:
        raise InvalidRequest(problems.found)
    budget, max_width = spec.budget, _max_width(base, info, limits)
    own = _own_settings(message)
    if kind == BESIDE_LIMIT:
        own["without_limit"] = tuple(_without_limit(spec))
        labels = paired_subjects(base)
        own["paired"] = tuple(str(subject) for subject in subjects(spec) if subject.label in labels)
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
    """One subject per parameterization, depth and activation."""
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
    """Subjects whose limit is not computed but replaced by far wider networks."""
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


def _own_settings(message: Any) -> dict[str, Any]:
    """Settings of one kind of question, by the names of the message's fields."""
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if descriptor.name == "references":
            continue
        if descriptor.name == "boundary":
            found["boundary"] = Fraction(value)
        else:
            found[descriptor.name] = tuple(value) if descriptor.is_repeated else value
    return found


def _max_width(base: spec_pb2.ExperimentSpec, info: DatasetInfo, limits: Limits) -> int:
    """The largest width, by doubling, that limits and memory allow, including that of replaced limits."""
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
    """Estimated cost of a run on an ordinary core, used until runs have been measured."""
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
