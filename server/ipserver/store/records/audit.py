"""The audit log: calls to the API that change something or were refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A call, as known when it begins. It holds no part of the request but what it concerns.

    Attributes:
        user: The caller; "": unknown, or the service has no authentication. "os:alice": a user of the
            operating system.
        method: "iplab.v1.ExperimentService/CancelExperiment", or an operator's command; "": several.
        resource: Name of the resource concerned; "": none, or unknown.
        project: Id of the project concerned; "": that of the resource.
        peer: IP address of the caller, or "unix", or the host's name of a command; "": several.
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
