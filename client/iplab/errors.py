"""Errors of the SDK. `iplab.connection.status` has the one table from gRPC status to these.

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
    """Base of all errors that the SDK raises on purpose."""


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
        source: Where they stand: the spec's file, or "".
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
    """Whether it is about an argument of `create`; a field of this name in a file has a line."""
    return violation.field in {"experiment_id", "request_id"} and not violation.line


class SpecError(InvalidRequestError):
    """A spec with wrong fields, found while it was read or by the service; nothing was created."""


class NotFoundError(IplabError, LookupError):
    """No resource of that name."""


class AlreadyExistsError(IplabError):
    """The experiment id is taken; choose another, or none and the service chooses one."""


class RequestIdReusedError(AlreadyExistsError):
    """The request id was used with another request; a new request needs a new id."""


class EtagMismatchError(IplabError):
    """It has changed since it was read, so this call changed nothing; read it again, and decide again."""


class UnavailableError(IplabError, ConnectionError):
    """No service answers at the address, or it cannot reach its store."""


class TimedOutError(IplabError, TimeoutError):
    """No answer within the timeout. What was asked for may have been done all the same."""


class TooExpensiveError(IplabError):
    """The service did not finish the answer: it would take too long or be too large. Ask for less."""


class UnauthenticatedError(IplabError):
    """No token was sent, or one that is unknown, expired or revoked."""


class PermissionDeniedError(IplabError):
    """Your role in the project does not allow it."""


class QuotaExceededError(IplabError):
    """A limit of the project or of yours is reached.

    Attributes:
        limit: Its name, as `iplab quota` shows it.
        retry_seconds: Seconds after which a repetition may succeed; None: unknown.
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
    """The service failed, or answered with something that this SDK does not know.

    Attributes:
        incident: Id under which the service's log has the details; "" if it gave none.
    """

    def __init__(self, message: str, incident: str = "") -> None:
        super().__init__(message)
        self.incident = incident
