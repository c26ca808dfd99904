"""Experiments: as accepted, as extended, as stored; their events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ipserver.names import DEFAULT_PROJECT
from ipserver.store.records.runs import NewRun
from ipserver.store.shapes import ONE_CORE
from ipserver.store.states import ExperimentState, RunState


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An accepted experiment.

    Attributes:
        id: Last part of the resource name.
        request_id: Key for idempotent creation, or "".
        request_hash: SHA-256 of the request; distinguishes a repetition from another request with the same
            id.
        spec: The serialized `iplab.v1.ExperimentSpec`, with defaults filled in.
        resources: Amounts that each of its packs asks for, by name ("cpus", "gpus", custom names).
        project: Id of its project.
        owned_by: The submitting user; "" without authentication.
        notes: Free text for users.
    """

    id: str
    uid: str
    request_id: str
    request_hash: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    spec_hash: str
    steps: int
    run_memory_bytes: int
    warnings: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpus": 1.0})
    project: str = DEFAULT_PROJECT
    owned_by: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """Changes of an experiment's or study's display name, labels, notes and priority.

    Attributes:
        etag: The expected etag; "" skips the check.
        values: New values by name: `display_name`, `notes`, `priority`, or `labels` (all labels).
        labels: New values of single labels; None removes a label.
        asked_by: The user who asks, whose limit of the priority counts; "": the owner.
    """

    etag: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)
    asked_by: str = ""


def etag_of(uid: str, display_name: str, labels: Mapping[str, str], priority: int, notes: str) -> str:
    """Hash of all fields that a `Revision` can change."""
    told = [uid, display_name, sorted(labels.items()), priority, notes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Extension:
    """More runs for an experiment.

    Attributes:
        request_id: Key for idempotency, or "".
        request_hash: SHA-256 of the request.
        extended_hash: Hash of the spec to extend, to detect another extension that came first.
        added: The added values by axis: "seeds", "widths", "base_learning_rates".
        runs: New runs, numbered after the existing ones; at least one.
        spec: The whole extended spec, as in `NewExperiment`; likewise hash, memory and warnings.
        asked_by: The user who asks; "": the owner.
    """

    request_id: str
    request_hash: str
    extended_hash: str
    added: Mapping[str, tuple[int, ...] | tuple[float, ...]]
    runs: tuple[NewRun, ...]
    spec: bytes
    spec_hash: str
    run_memory_bytes: int
    warnings: tuple[str, ...]
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment, as stored.

    Attributes:
        shape: Resources that each of its packs asks for, as text (`ipserver.store.shapes`).
        dataset_sha256: Digest of the registered file that its committed steps were trained on; None if the
            dataset is not a registered file or nothing is committed.
        unplaceable_since: When dispatchers first found that no node can hold its packs; None if one can.
        delete_time: When it was deleted; None if it is not deleted.
        purge_time: When its retention time ends and it is purged; None if it is not deleted.
    """

    id: str
    uid: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    spec_hash: str
    steps: int
    run_memory_bytes: int
    warnings: tuple[str, ...]
    state: ExperimentState
    counts: Mapping[RunState, int]
    committed_steps: int
    sequence: int
    mlflow_pending_runs: int
    create_time: float
    start_time: float | None
    end_time: float | None
    shape: str = ONE_CORE
    dataset_sha256: str | None = None
    unplaceable_since: float | None = None
    project: str = DEFAULT_PROJECT
    owned_by: str = ""
    notes: str = ""
    trace: str = ""
    delete_time: float | None = None
    purge_time: float | None = None

    @property
    def etag(self) -> str:
        """Hash of the fields that a `Revision` can change."""
        return etag_of(self.uid, self.display_name, self.labels, self.priority, self.notes)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event.

    Attributes:
        kind: "experiment_state", "runs_state", "pack_progress", "notice", "extended" or "updated".
        payload: JSON-ready values: {"state"}, {"state", "runs"}, {"pack", "hidden_layers", "width",
            "activation", "runs", "committed_steps", "steps"}, {"message"}, the extended axes with
            {"first_run_index", "runs"}, or {"fields"} with their new values except notes.
    """

    sequence: int
    time: float
    kind: str
    payload: Mapping[str, object]
