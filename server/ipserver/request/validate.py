"""Checks a CreateExperimentRequest as a whole and reports all wrong fields at once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from ipcore.catalogue import OPTIMIZERS, DatasetInfo
from ipcore.limits.cost import deferring_width
from ipcore.planning.memory import run_memory_bytes
from iplab.v1 import experiment_service_pb2 as service_pb2
from iplab.v1 import spec_pb2
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.checking import check_fields, check_value
from ipserver.request.convert import pack_config
from ipserver.request.datasets import dataset_notes
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.expand import expand, networks
from ipserver.request.fields import fields_of
from ipserver.request.grid import check_grid
from ipserver.request.limit_checks import (
    check_limits,
    check_pairs,
    check_particles,
    limit_warnings,
    pair_outputs,
)
from ipserver.request.limit_runs import is_special, largest_memory
from ipserver.request.models import check_model
from ipserver.request.parameterizations import parameterization_warnings
from ipserver.request.predict import prediction_warnings
from ipserver.request.probes import check_points, check_probes
from ipserver.request.problems import Problems, human_bytes, shown
from ipserver.request.rules import check_resources, check_training, check_weights
from ipserver.request.training import (
    check_decay,
    check_precision,
    check_schedule,
    check_sizes,
    decay_warnings,
)
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_INPUT_FIELDS = frozenset({"display_name", "labels", "priority", "spec", "project", "notes"})


@dataclass(frozen=True, slots=True)
class Checked:
    """The contents of a valid request.

    Attributes:
        spec: With its defaults filled in.
        spec_hash: SHA-256 of it, in hexadecimal.
        runs: The expanded grid, by index.
        run_memory_bytes: Estimated memory of the largest single run.
        warnings: Allowed but noteworthy properties of the request.
        dataset: Properties of its dataset.
    """

    spec: spec_pb2.ExperimentSpec
    spec_hash: str
    runs: tuple[NewRun, ...]
    run_memory_bytes: int
    warnings: tuple[str, ...]
    dataset: DatasetInfo


def check_create(
    request: service_pb2.CreateExperimentRequest, limits: Limits, capacity: CapacityReport | None
) -> Checked:
    """Check a request and expand its grid.

    Args:
        request: As received.
        limits: Limits of this service.
        capacity: The last capacity report; None: no dispatcher has reported.

    Raises:
        InvalidRequest: The request is invalid; every wrong field is named.
    """
    problems = Problems()
    check_ids(request, problems)
    if not request.HasField("experiment"):
        problems.add("experiment", "is required")
        raise InvalidRequest(problems.found)
    check_envelope(request.experiment, "experiment", limits, problems)
    if not request.experiment.HasField("spec"):
        problems.add("experiment.spec", "is required")
        raise InvalidRequest(problems.found)
    return check_spec(request.experiment.spec, limits, capacity, problems)


def check_spec(
    given: spec_pb2.ExperimentSpec,
    limits: Limits,
    capacity: CapacityReport | None,
    problems: Problems,
    *,
    stand_ins: bool = False,
) -> Checked:
    """Check a spec and expand its grid. Violations name its fields below "experiment.spec".

    Args:
        given: With or without its defaults.
        limits: Limits of this service.
        capacity: The last capacity report; None: no dispatcher has reported.
        problems: Violations found in the rest of the request.
        stand_ins: Whether far wider networks may replace limits that are not computed, as in studies.

    Raises:
        InvalidRequest: The spec or the rest of the request is invalid; every wrong field is named.
    """
    spec = with_defaults(given)
    check_fields(spec, "experiment.spec", limits, problems)
    info = check_training(spec, "experiment.spec", capacity, problems)
    check_decay(spec, "experiment.spec.optimizer", problems)
    check_schedule(spec, "experiment.spec.schedule", problems)
    check_model(spec, "experiment.spec.model", problems)
    check_precision(spec, "experiment.spec", problems)
    check_grid(spec, "experiment.spec.grid", limits, problems)
    check_weights(spec.record, "experiment.spec.record", problems)
    trained_on = None
    if info is not None and check_sizes(spec, info.train_size, "experiment.spec", problems):
        trained_on = info.train_size - spec.validation_size
    check_probes(spec, trained_on, "experiment.spec.record.probes", problems)
    check_resources(spec.resources, "experiment.spec.resources", problems)
    check_particles(spec, "experiment.spec", problems)
    if problems.found or info is None:
        # Memory is estimated if the wrong fields do not enter the estimate.
        problems.found += _memory_if_possible(spec, info, limits, {v.field for v in problems.found})
        raise InvalidRequest(problems.found)
    if not given.record.HasField("probes"):
        pair_outputs(spec)
    check_pairs(spec, "experiment.spec.record.probes", problems)
    check_points(spec, "experiment.spec.record", limits, problems)
    check_limits(spec, info, "experiment.spec", limits, problems, stand_ins=stand_ins)
    if problems.found:
        raise InvalidRequest(problems.found)
    memories = _memories(spec, info)
    problems.found += _memory_violations(spec, memories, limits)
    if problems.found:
        raise InvalidRequest(problems.found)
    runs = tuple(expand(spec))
    return Checked(
        spec,
        spec_hash(spec),
        runs,
        max(memory for _, memory in memories),
        (
            *parameterization_warnings(spec),
            *decay_warnings(spec),
            *dataset_notes(spec.dataset, capacity),
            *prediction_warnings(spec),
            *limit_warnings(spec),
        ),
        info,
    )


def check_ids(request: service_pb2.CreateExperimentRequest, problems: Problems) -> None:
    """Check the experiment id and the request id, both optional."""
    if request.experiment_id and not names.is_experiment_id(request.experiment_id):
        problems.add("experiment_id", f"{shown(request.experiment_id)} is not an id: {names.ID_RULE}")
    check_request_id(request.request_id, problems)


def check_request_id(request_id: str, problems: Problems) -> None:
    """Check an optional request id."""
    if request_id and not canonical_uuid(request_id):
        problems.add(
            "request_id", f"{shown(request_id)} is not a UUID such as 123e4567-e89b-42d3-a456-426614174000"
        )


def canonical_uuid(text: str) -> str:
    """A UUID in its canonical spelling; "" for text that is not a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def check_envelope(message: Message, path: str, limits: Limits, problems: Problems) -> None:
    """Check the fields of experiments and studies besides their specs: display name, labels, notes, priority.

    Args:
        message: The experiment or study.
        path: Path of the message in the request.
        limits: Limits of this service.
        problems: Collects the violations.
    """
    for descriptor, _ in message.ListFields():
        if descriptor.name not in _INPUT_FIELDS:
            problems.add(f"{path}.{descriptor.name}", "is set by the service; leave it out")
    fields = fields_of(message)
    for name in ("display_name", "priority", "project", "notes"):
        if name in fields:
            check_value(fields[name], getattr(message, name), f"{path}.{name}", limits, problems)
    labels: Mapping[str, str] = getattr(message, "labels")  # noqa: B009 - of either message
    check_label_count(len(labels), path, problems)
    for key, value in sorted(labels.items()):
        if check_label_key(key, f"{path}.labels", problems):
            check_value(fields["labels"], value, f'{path}.labels["{key}"]', limits, problems)


def check_label_count(number: int, path: str, problems: Problems) -> None:
    """Check the number of labels of an experiment or study."""
    if number > names.MOST_LABELS:
        problems.add(f"{path}.labels", f"has {number} labels; at most {names.MOST_LABELS} are allowed")


def check_label_key(key: str, path: str, problems: Problems) -> bool:
    """Check the key of a label. Returns whether it is valid."""
    if _LABEL_KEY.fullmatch(key):
        return True
    rule = "a lower-case letter, then at most 62 lower-case letters, digits, '_' and '-'"
    problems.add(path, f"{shown(key)} is not a key: {rule}")
    return False


def _memories(spec: spec_pb2.ExperimentSpec, info: DatasetInfo) -> list[tuple[NetworkShape, int]]:
    """Estimated memory in bytes of the largest run per depth, width and activation."""
    return [(network, _memory(spec, network, info)) for network in networks(spec.grid)]


def _memory(spec: spec_pb2.ExperimentSpec, network: NetworkShape, info: DatasetInfo) -> int:
    config = pack_config(spec, network)
    return largest_memory(spec, network, info) if is_special(config) else run_memory_bytes(config, info)


def _memory_violations(
    spec: spec_pb2.ExperimentSpec, memories: Iterable[tuple[NetworkShape, int]], limits: Limits
) -> list[FieldViolation]:
    """One violation per width that is too large, at the smallest depth where it is."""
    too_large: dict[int, tuple[int, int]] = {}
    for network, memory in memories:
        if memory > limits.max_run_memory_bytes:
            worst = too_large.get(network.width, (network.hidden_layers, memory))
            too_large[network.width] = min(worst, (network.hidden_layers, memory))
    return [
        FieldViolation(
            f"experiment.spec.grid.widths[{i}]",
            f"width {width} with {too_large[width][0]} hidden layers and batches of {spec.batch_size} needs "
            f"about {human_bytes(too_large[width][1])} per run; "
            f"the limit is {human_bytes(limits.max_run_memory_bytes)}{_with_deferred(spec)}",
        )
        for i, width in enumerate(spec.grid.widths)
        if width in too_large
    ]


def _with_deferred(spec: spec_pb2.ExperimentSpec) -> str:
    """Advice on a dense network that is too wide: deferred weights, if they are possible."""
    n = spec.steps * spec.batch_size
    if (
        spec.deferred_weights
        or spec.optimizer.name not in OPTIMIZERS
        or OPTIMIZERS[spec.optimizer.name].entrywise
    ):
        return ""
    width = deferring_width(n, gpu=spec.resources.gpus > 0)
    return f"; deferred_weights: cheaper takes less from width {width:,} on, for the {n:,} examples seen here"


def _memory_if_possible(
    spec: spec_pb2.ExperimentSpec, info: DatasetInfo | None, limits: Limits, wrong: set[str]
) -> list[FieldViolation]:
    """Memory violations of a spec whose wrong fields do not enter the estimate."""
    axes = ("grid.widths", "grid.hidden_layers", "grid.activations")
    used = (
        "dataset",
        "loss",
        "model",
        "bias",
        "optimizer.name",
        "batch_size",
        "validation_size",
        "record.probes",
        *axes,
    )
    prefixes = tuple(f"experiment.spec.{name}" for name in used)
    if info is None or "experiment.spec.grid" in wrong or any(field.startswith(prefixes) for field in wrong):
        return []
    dense = (network for network in networks(spec.grid) if not is_special(pack_config(spec, network)))
    memories = [(network, run_memory_bytes(pack_config(spec, network), info)) for network in dense]
    return _memory_violations(spec, memories, limits)
