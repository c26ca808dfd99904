"""Errors of the SDK. The table in `iplab.connection.status` maps gRPC status to them.

IplabError
+-- InvalidRequestError (ValueError)    the service refused fields of a request; `violations` has all of them
|   +-- SpecError                       the fields are those of a spec: of its file, dict or message
+-- NotFoundError (LookupError)         no experiment, run or artifact of that name
+-- AlreadyExistsError                  the experiment id is taken
|   +-- RequestIdReusedError            the request id was used with another request
+-- EtagMismatchError                   it was changed since it was read; read it again
+-- UnavailableError (ConnectionError)  no service answers, or it cannot reach its store; try again later
+-- TimedOutError (TimeoutError)        no answer within the timeout, or `wait` ran out of time
+-- UnauthenticatedError                no token, or one that is unknown, expired or revoked
+-- PermissionDeniedError               your role in the project does not allow it
+-- QuotaExceededError                  a limit of the project or of yours is reached
+-- TooExpensiveError                   the answer would take too long or be too large; ask for less
+-- WatchOverflowError                  a watch fell behind; `Experiment.watch` resumes by itself
+-- ArtifactDamagedError                a file does not have its recorded size or checksum
+-- ServerError                         a defect of the service, or an answer that the SDK does not know
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipcore.errors import Brief


class IplabError(Brief, Exception):
    """Base class of the SDK's errors."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field.

    Attributes:
        field: Its path: "spec.grid.widths[1]" in a spec, "filter" in a request; "" for the whole.
        message: The value, what is allowed, what to do instead.
        line: Line in the spec's file, from 1; 0 if there is none.
    """

    field: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class InvalidRequestError(IplabError, ValueError):
    """A request with wrong fields; nothing was done.

    Attributes:
        violations: All of them; never empty.
        source: The spec's file, or "".
    """

    def __init__(self, violations: Iterable[Violation], source: str = "") -> None:
        self.violations = tuple(violations)
        self.source = source
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line per wrong field, for a terminal."""
        return [
            f"{self.source}: {violation}"
            if self.source and not _beside_the_spec(violation)
            else str(violation)
            for violation in self.violations
        ]


def _beside_the_spec(violation: Violation) -> bool:
    """Whether it concerns an argument of `create`, not a field of this name in a file, which has a line."""
    return violation.field in {"experiment_id", "request_id"} and not violation.line


class SpecError(InvalidRequestError):
    """A spec with wrong fields, found by the SDK or the service; nothing was created."""


class NotFoundError(IplabError, LookupError):
    """There is no resource of this name."""


class AlreadyExistsError(IplabError):
    """The experiment id is taken; choose another, or none and the service chooses one."""


class RequestIdReusedError(AlreadyExistsError):
    """The request id was used with another request; a new request needs a new id."""


class EtagMismatchError(IplabError):
    """The resource has changed since it was read; nothing was written. Read it again before you change it."""


class UnavailableError(IplabError, ConnectionError):
    """No service answers at the address, or it cannot reach its store."""


class TimedOutError(IplabError, TimeoutError):
    """There was no answer within the timeout. The request may have been carried out nevertheless."""


class TooExpensiveError(IplabError):
    """The answer would take too long or be too large; ask for less."""


class UnauthenticatedError(IplabError):
    """The token is missing, unknown, expired or revoked."""


class PermissionDeniedError(IplabError):
    """Your role in the project does not allow it."""


class QuotaExceededError(IplabError):
    """A limit of the project or the user is reached.

    Attributes:
        limit: Name of the limit, as in `iplab quota`.
        retry_seconds: Seconds after which a repetition may succeed; None if unknown.
    """

    def __init__(self, message: str, limit: str = "", retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_seconds = retry_seconds


class WatchOverflowError(IplabError):
    """The watch fell too far behind; watch again from the last event received."""


class ArtifactDamagedError(IplabError):
    """A file that does not have its recorded size or checksum."""


class ServerError(IplabError):
    """The service failed, or its answer is unknown to this version of the SDK.

    Attributes:
        incident: Id of the details in the service's log; "" if there is none.
    """

    def __init__(self, message: str, incident: str = "") -> None:
        super().__init__(message)
        self.incident = incident
