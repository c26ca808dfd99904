"""Accepts experiments and extensions: checks and stores a request, once per request id."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.errors import StoreUnavailable
from ipserver.request.convert import resource_request
from ipserver.request.extend import check_extend
from ipserver.request.hashes import request_hash
from ipserver.request.ids import under_free_id
from ipserver.request.validate import Checked, canonical_uuid, check_create
from ipserver.store.records.experiments import ExperimentRecord, NewExperiment

if TYPE_CHECKING:
    from ipserver.store import Store

_EXTEND_ATTEMPTS: Final = 10


def create(
    store: Store,
    request: pb.CreateExperimentRequest,
    limits: Limits,
    study: tuple[str, int] | None = None,
    owned_by: str = "",
    require_room: Callable[[], None] = lambda: None,
) -> ExperimentRecord:
    """Accept an experiment. A repeated request gets the first answer again.

    Args:
        store: The store.
        request: As received.
        limits: Limits of this service.
        study: Id and token of the study that submits it, whose project and user it gets; None if a user does.
        owned_by: The submitting user; "" without authentication.
        require_room: Raises QuotaExceeded if disks are nearly full.

    Raises:
        Fenced: The study's token is not current, or the study is being cancelled.
        InvalidRequest: The request is invalid; every wrong field is named.
        QuotaExceeded: A limit is reached, or disks are nearly full.
        AlreadyExists: The id is taken.
        RequestIdReused: The request id was used with another request.
    """
    # A repetition gets the first answer, even if the request would now be refused.
    if first := repeated(store, request):
        return first
    require_room()
    digest, request_id = request_hash(request), canonical_uuid(request.request_id)
    checked = check_create(request, limits, store.capacity())

    def made() -> ExperimentRecord:
        new = _new_experiment(request, checked, request_id, digest, owned_by)
        return store.create_experiment(new, checked.runs, study)

    return under_free_id(made, request.experiment_id, "experiment")


def repeated(store: Store, request: pb.CreateExperimentRequest) -> ExperimentRecord | None:
    """The experiment that an earlier request of the same id created, or None. Raises RequestIdReused."""
    request_id = canonical_uuid(request.request_id)
    return store.find_request(request_id, request_hash(request)) if request_id else None


def extend(
    store: Store,
    experiment: str,
    request: pb.ExtendExperimentRequest,
    limits: Limits,
    study: tuple[str, int] | None = None,
    asked_by: str = "",
    require_room: Callable[[], None] = lambda: None,
) -> ExperimentRecord:
    """Extend an experiment. A repeated request changes nothing and returns the experiment.

    Args:
        store: The store.
        experiment: The experiment's id.
        request: As received.
        limits: Limits of this service.
        study: Id and token of the study that extends it; None if a user does.
        asked_by: The extending user; "" without authentication, and for studies, which extend their own.
        require_room: Raises QuotaExceeded if disks are nearly full.

    Raises:
        Fenced: The study's token is not current, or the study is being cancelled.
        InvalidRequest: The request is invalid; every wrong field is named.
        QuotaExceeded: A limit is reached, or disks are nearly full.
        NotFound: There is no such experiment.
        RequestIdReused: The request id was used with another request.
        StoreUnavailable: Concurrent extensions of the experiment won every attempt.
    """
    digest, request_id = request_hash(request), canonical_uuid(request.request_id)
    for _ in range(_EXTEND_ATTEMPTS):
        if request_id and (first := store.find_extension(request_id, digest)):
            return first
        require_room()
        record = store.get_experiment(experiment)
        extension = check_extend(request, record, limits, store.capacity())
        if extended := store.extend_experiment(experiment, replace(extension, asked_by=asked_by), study):
            return extended
    raise StoreUnavailable(f"experiment {experiment!r} is being extended by other requests; try again")


def _new_experiment(
    request: pb.CreateExperimentRequest, checked: Checked, request_id: str, digest: str, owned_by: str
) -> NewExperiment:
    experiment = request.experiment
    return NewExperiment(
        id=request.experiment_id or _readable_id(experiment.display_name or checked.spec.dataset),
        uid=str(uuid.uuid4()),
        request_id=request_id,
        request_hash=digest,
        display_name=experiment.display_name,
        labels=dict(experiment.labels),
        notes=experiment.notes,
        priority=experiment.priority,
        spec=checked.spec.SerializeToString(deterministic=True),
        spec_hash=checked.spec_hash,
        steps=checked.spec.steps,
        run_memory_bytes=checked.run_memory_bytes,
        warnings=checked.warnings,
        resources=resource_request(checked.spec).amounts(),
        project=experiment.project or names.DEFAULT_PROJECT,
        owned_by=owned_by,
    )


def _readable_id(text: str) -> str:
    """An id that begins with the words of `text`.

    >>> _readable_id("Width 128, take 2").rpartition("-")[0]
    'width-128-take-2'
    """
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    stem = words if words[:1].isalpha() else f"e-{words}".rstrip("-")
    return f"{stem}-{secrets.token_hex(3)}"
