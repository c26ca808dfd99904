"""The file in which `ipserver up` describes the service that runs in a home folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.ops.metric_addresses import addresses

# Settings of the reading process, or of the folder itself.
_NOT_COMPARED = ("settings", "secrets", "home")


@dataclass(frozen=True, slots=True)
class RunningService:
    """A running service.

    Attributes:
        pid: Process id of `ipserver up`.
        settings: Its settings. Secrets are not stored; the reader's own are used.
    """

    pid: int
    settings: Settings

    def differences(self, settings: Settings) -> Iterator[tuple[str, str, str]]:
        """Given settings that differ: the variable's name, the service's value, and the given value."""
        theirs, ours = self.settings.shown(), settings.shown()
        for name in theirs:
            given = name in settings.model_fields_set and name not in _NOT_COMPARED
            if given and theirs[name] != ours[name]:
                yield f"IPLAB_{name.upper()}", theirs[name], ours[name]


def announce(settings: Settings, parts: Mapping[str, int]) -> None:
    """Write the service's address, settings and process ids, readable only by its user.

    Raises:
        OSError: The file cannot be written.
    """
    status = {
        "address": settings.address,
        "mlflow_tracking_uri": without_password(settings.mlflow_uri),
        "web": f"http://{settings.web_address}/" if settings.web_address else "",
        "metrics": {
            part: f"http://{where}/metrics" for part, where in addresses(settings.metrics_address).items()
        },
        "pid": os.getpid(),
        "parts": dict(parts),
        "settings": _open_settings(settings),
    }
    file = _file(settings)
    beside = file.with_name("service.json.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(status, indent=2) + "\n")
    beside.replace(file)


def retract(settings: Settings) -> None:
    """Remove the file, because the service has stopped."""
    _file(settings).unlink(missing_ok=True)


def running_service(settings: Settings) -> RunningService | None:
    """The service that runs in the home of these settings; None if there is none or an older version."""
    try:
        with (settings.home / "up.lock").open("r") as lock:
            if _is_free(lock.fileno()):
                return None
        status = json.loads(_file(settings).read_text())
        theirs = settings.model_dump() | status["settings"]
        return RunningService(int(status["pid"]), Settings.model_validate(theirs))
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _open_settings(settings: Settings) -> dict[str, object]:
    """All settings except secrets, as JSON."""
    secret = {name for name, value in settings if isinstance(value, SecretStr)}
    dumped: dict[str, object] = settings.model_dump(mode="json", exclude=secret | set(_NOT_COMPARED))
    return dumped


def _is_free(lock: int) -> bool:
    """Whether the lock is free, tested by taking it briefly."""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def _file(settings: Settings) -> Path:
    return settings.home / "service.json"
