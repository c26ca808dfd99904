"""The audit log of a fake service: calls that may change something, as the real one records them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import descriptor_pool

from iplab.testing.queries import selected
from iplab.v1 import audit_service_pb2 as pb
from iplab.v1 import options_pb2


def _audited() -> Iterator[tuple[str, tuple[str, str]]]:
    """Full name, and the field with the resource, of methods that need a role above reader, by name."""
    for file in ("experiment", "run", "study", "audit"):
        for service in (
            descriptor_pool.Default()
            .FindFileByName(f"iplab/v1/{file}_service.proto")
            .services_by_name.values()
        ):
            for method in service.methods:
                access = method.GetOptions().Extensions[options_pb2.access]
                if access.role > options_pb2.ROLE_READER:
                    yield method.name, (f"{service.full_name}/{method.name}", access.resource)


_METHODS: Final = dict(_audited())


class AuditLog:
    """Entries, oldest first."""

    def __init__(self) -> None:
        self._entries: list[pb.AuditEntry] = []

    def note(self, method: str, request: Any, answer: Any, code: str, peer: str) -> None:
        """Record a call, if it may change something.

        Args:
            method: For example "CancelExperiment".
            request: The request.
            answer: The answer; None: an error.
            code: Name of the gRPC status code.
            peer: Address of the caller.
        """
        if method not in _METHODS or getattr(request, "validate_only", False):
            return
        name, path = _METHODS[method]
        asked = f"experiments/{request.experiment_id}" if getattr(request, "experiment_id", "") else ""
        if getattr(request, "study_id", ""):
            asked = f"studies/{request.study_id}"
        resource = asked or getattr(answer, "name", "")
        if path:
            resource = request
            for part in path.split("."):
                resource = getattr(resource, part)
        known = resource.startswith(("experiments/", "studies/")) and code != "NOT_FOUND"
        entry = pb.AuditEntry(
            method=name, resource=resource, project="default" if known else "", peer=peer, code=code, calls=1
        )
        entry.time.GetCurrentTime()
        entry.end_time.CopyFrom(entry.time)
        self._entries.append(entry)

    def listing(self, request: pb.ListAuditEntriesRequest) -> pb.ListAuditEntriesResponse:
        """One page, newest first. Raises Refused."""
        found = selected(self._entries[::-1], request.filter)
        start = int(request.page_token or 0)
        end = start + (request.page_size or len(found))
        token = str(end) if end < len(found) else ""
        return pb.ListAuditEntriesResponse(entries=found[start:end], next_page_token=token)
