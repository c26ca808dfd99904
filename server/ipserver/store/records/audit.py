"""The audit log: calls to the API that change something or were refused."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A call, as known when it begins. It holds no part of the request but what it concerns.

    Attributes:
        user: The caller; "": unknown, or the service has no authentication. "os:alice": a user of the
            operating system. "study s for alice", "retention rule of project lab": the service by itself; no
            token's user has a space.
        method: "iplab.v1.ExperimentService/CancelExperiment", or an operator's command; "": several. What the
            service does by itself has the method by which a user would do it.
        resource: Name of the resource concerned; "": none, or unknown.
        project: Id of the project concerned; "": that of the resource.
        peer: IP address of the caller, or "unix", or the host's name of a command or dispatcher; "": several.
    """

    user: str
    method: str
    resource: str
    project: str
    peer: str


@dataclass(frozen=True, slots=True)
class AuditRecord(AuditedCall):
    """A call, as stored.

    Attributes:
        id: Grows with time.
        time: When it began.
        end_time: Time at which its result was written; None in older entries.
        code: Its result, a gRPC status code by name; "": unknown, in older entries.
        calls: Number of calls that it stands for.
    """

    id: int
    time: float
    end_time: float | None
    code: str
    calls: int


@dataclass(frozen=True, slots=True)
class OwnActs:
    """How what the service does by itself is written down.

    Attributes:
        keep_seconds: How long entries are kept.
        peer: Name of this host.
    """

    keep_seconds: float = 365 * 86_400.0
    peer: str = field(default_factory=socket.gethostname)

    def call(self, user: str, method: str, resource: str, project: str = "") -> AuditedCall:
        """What is done, as a call.

        Args:
            user: Who does it: "study s for alice", "retention rule of project lab".
            method: Of which service: "ExperimentService/DeleteExperiment".
            resource: As `AuditedCall.resource`.
            project: As `AuditedCall.project`.
        """
        return AuditedCall(user, f"iplab.v1.{method}", resource, project, self.peer)
