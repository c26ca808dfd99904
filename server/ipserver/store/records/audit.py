"""The audit log: calls to the API that change something or were refused."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A call, as known when it begins. Of the request it has only the resource and project concerned.

    Attributes:
        user: The caller; "" if unknown or without authentication. "os:alice" is a user of the operating
            system. Names with a space, which users cannot have, are the service itself: "study s for alice",
            "retention rule of project lab".
        method: "iplab.v1.ExperimentService/CancelExperiment", or an operator's command; "" for several. Acts
            of the service itself have the method by which a user would do the same.
        resource: Name of the resource concerned; "" if none or unknown.
        project: Id of the project concerned; "" takes that of the resource.
        peer: IP address of the caller, "unix", or the host name of a command or dispatcher; "" for several.
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
        id: Increasing number.
        time: When the call began.
        end_time: When its result was written; None in older entries.
        code: Name of its gRPC status code; "" in older entries.
        calls: Number of calls that the entry stands for.
    """

    id: int
    time: float
    end_time: float | None
    code: str
    calls: int


@dataclass(frozen=True, slots=True)
class OwnActs:
    """How acts of the service itself are recorded in the audit log.

    Attributes:
        keep_seconds: How long entries are kept.
        peer: Name of this host.
    """

    keep_seconds: float = 365 * 86_400.0
    peer: str = field(default_factory=socket.gethostname)

    def call(self, user: str, method: str, resource: str, project: str = "") -> AuditedCall:
        """An act as a call.

        Args:
            user: The acting part: "study s for alice", "retention rule of project lab".
            method: Service and method: "ExperimentService/DeleteExperiment".
            resource: As `AuditedCall.resource`.
            project: As `AuditedCall.project`.
        """
        return AuditedCall(user, f"iplab.v1.{method}", resource, project, self.peer)
