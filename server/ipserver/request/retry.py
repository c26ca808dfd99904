"""Retries failed runs, once per request id."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iplab.v1 import experiment_service_pb2, run_service_pb2
from ipserver.errors import InvalidRequest
from ipserver.request.hashes import request_hash
from ipserver.request.problems import Problems
from ipserver.request.validate import canonical_uuid, check_request_id
from ipserver.store.records.experiments import ExperimentRecord

if TYPE_CHECKING:
    from ipserver.store import Store


def retry_failed(
    store: Store,
    request: experiment_service_pb2.RetryFailedRunsRequest | run_service_pb2.RetryRunRequest,
    experiment: str,
    index: int | None = None,
    *,
    require_room: Callable[[], None] = lambda: None,
) -> ExperimentRecord:
    """Queue failed runs again. A repeated request changes nothing and returns the experiment.

    Args:
        store: The store.
        request: As received.
        experiment: The experiment's id.
        index: Only this run; None: all failed runs.
        require_room: Raises QuotaExceeded if disks are nearly full.

    Raises:
        InvalidRequest: The request id is not a UUID, or no run may be retried.
        NotFound: There is no such experiment or run.
        QuotaExceeded: A limit is reached, or disks are nearly full.
        RequestIdReused: The request id was used with another request.
    """
    problems = Problems()
    check_request_id(request.request_id, problems)
    if problems.found:
        raise InvalidRequest(problems.found)
    request_id = canonical_uuid(request.request_id)
    digest = request_hash(request, with_kind=True)
    if request_id and (first := store.find_extension(request_id, digest)):
        return first
    require_room()
    return store.retry_failed(experiment, request_id, digest, index)
