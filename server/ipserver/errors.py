"""Errors of the service. The table in `ipserver.api.status` maps them to gRPC status.

ServiceError
+-- InvalidRequest        every wrong field at once
+-- NotFound
|   +-- Concealed         it exists, in a project that the caller may not know of
+-- AlreadyExists
|   +-- RequestIdReused
+-- EtagMismatch          the resource was changed since the caller read it
+-- Fenced                a commit under a token that is no longer current (never leaves the service)
+-- DatasetChanged        a registered file was replaced while an experiment trains on it (ends its runs)
+-- TooExpensive          the answer would take too long or be too large
+-- Unauthenticated       no token, or one that is unknown, expired or revoked
+-- PermissionDenied      the caller's role in the project does not allow it
+-- QuotaExceeded         a limit of the project or user is reached
|   +-- RateExceeded      requests come faster than a limit allows
+-- WatchOverflow
+-- ArtifactDamaged
+-- StoreUnavailable
+-- ArtifactsUnavailable
+-- ClusterLost           the cluster that trainers run on is gone; the dispatcher must start again
+-- StartupError          a part cannot start; shown to users at a terminal
    +-- NotReady          a part cannot start yet: a service that it needs does not answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field.

    Attributes:
        field: Path in the request ("experiment.spec.grid.widths[1]").
        message: The value, what is allowed, what to do instead.
    """

    field: str
    message: str


class ServiceError(Exception):
    """Base class of the service's errors."""


class InvalidRequest(ServiceError):
    """A request with wrong fields.

    Attributes:
        violations: All of them; never empty.
    """

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        listing = "; ".join(f"{v.field}: {v.message}" for v in self.violations)
        super().__init__(listing)

    def __reduce__(self) -> tuple[type[InvalidRequest], tuple[tuple[FieldViolation, ...]]]:
        """Pickle it by its violations, because it may come from another process."""
        return type(self), (self.violations,)


class NotFound(ServiceError):
    """There is no resource of this name."""


class Concealed(NotFound):
    """The caller has no role in the resource's project. The answer is the same as for a missing resource.

    Attributes:
        resource: Name of the resource.
    """

    def __init__(self, message: str, resource: str) -> None:
        super().__init__(message)
        self.resource = resource


class AlreadyExists(ServiceError):
    """The id of the experiment, study or project is taken."""


class RequestIdReused(AlreadyExists):
    """The request id was used with another request."""


class EtagMismatch(ServiceError):
    """The resource has changed since it had the request's etag; nothing was written."""


class Fenced(ServiceError):
    """A write under a lease or token that is no longer current; nothing was written."""


class DatasetChanged(ServiceError):
    """A registered file no longer holds the numbers that an experiment has been trained on so far."""


class TooExpensive(ServiceError):
    """The answer would take too long or be too large; the message says what to reduce."""


class Unauthenticated(ServiceError):
    """The caller shows no token, or one that is unknown, expired or revoked.

    Attributes:
        user: The token's user; "" if unknown.
    """

    def __init__(self, message: str, user: str = "") -> None:
        super().__init__(message)
        self.user = user


class PermissionDenied(ServiceError):
    """The caller's role in the project does not allow it.

    Attributes:
        resource: Name of the resource concerned; "" if none.
        project: The project concerned; "" if it is that of the resource, or none.
    """

    def __init__(self, message: str, resource: str = "", project: str = "") -> None:
        super().__init__(message)
        self.resource = resource
        self.project = project


class QuotaExceeded(ServiceError):
    """A limit of the project or user is reached.

    Attributes:
        subject: Subject of the limit: "project:lab" or "project:lab/user:alice".
        limit: Name of the limit.
        retry_seconds: Seconds after which a repetition may succeed; None if unknown.
        never: Whether a repetition can never succeed.
    """

    def __init__(
        self,
        message: str,
        subject: str,
        limit: str,
        retry_seconds: float | None = None,
        *,
        never: bool = False,
    ) -> None:
        super().__init__(message)
        self.subject = subject
        self.limit = limit
        self.retry_seconds = retry_seconds
        self.never = never


class RateExceeded(QuotaExceeded):
    """More requests per second than a limit of the project or user allows.

    Attributes:
        project: The project.
    """

    def __init__(
        self, message: str, subject: str, limit: str, retry_seconds: float | None, *, project: str
    ) -> None:
        super().__init__(message, subject, limit, retry_seconds)
        self.project = project


class WatchOverflow(ServiceError):
    """A watcher fell too far behind."""


class ArtifactDamaged(ServiceError):
    """A stored file does not have its recorded size or checksum."""


class StoreUnavailable(ServiceError):
    """The store cannot be reached now."""


class ArtifactsUnavailable(ServiceError):
    """The files of weights and checkpoints cannot be reached now."""


class ClusterLost(ServiceError):
    """The cluster that trainers run on is gone and does not come back to this process."""


class StartupError(ServiceError):
    """A part cannot start: a port in use, a folder without write permission, an unknown schema."""


class NotReady(StartupError):
    """A service that a part needs does not answer now. It may answer later (IPLAB_WAIT_SECONDS)."""
