"""Reads `deploy/compose.yaml` as far as we use compose; what is not understood is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
# What it says to Docker about images, restarts, ports and shares does not matter to processes of one machine.
_IGNORED = {"image", "build", "restart", "init", "ports", "volumes", "security_opt", "cap_drop", "cpu_shares"}
_KNOWN = {
    "command",
    "environment",
    "secrets",
    "user",
    "read_only",
    "tmpfs",
    "shm_size",
    "scale",
    "depends_on",
    "healthcheck",
    "stop_grace_period",
}
_CONDITIONS = {"service_healthy", "service_completed_successfully"}


class Refused(Exception):
    """The file says something that this reader does not know."""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How it is seen that a service answers.

    Attributes:
        command: Exit code 0: it does.
        seconds: For how long it may not.
    """

    command: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        name: Under which others reach it.
        command: What it runs.
        environment: Variables beyond the image's.
        secrets: Path inside by name.
        user: Number; None: the image's own.
        read_only: Whether its root file system is.
        tmpfs: Folders that it may write, with their mount options.
        scale: How many of it.
        depends_on: Condition by name of another service.
        healthcheck: None: none.
        grace: Seconds from SIGTERM to SIGKILL.
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


def read(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Service]:
    """The services by name.

    Args:
        variables: For `${NAME:-default}`.
        path: The file.

    Raises:
        Refused: Something in it is not understood.
    """
    content = yaml.safe_load(_interpolated(path.read_text(), variables))
    return {name: _service(name, values) for name, values in content["services"].items()}


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: variables.get(m[1]) or m[2], text)
    if "${" in text:
        raise Refused(f"only ${{NAME:-default}} is understood: {text[text.index('${') :][:30]!r}")
    return text


def _service(name: str, values: Mapping[str, Any]) -> Service:
    if unknown := values.keys() - _KNOWN - _IGNORED:
        raise Refused(f"service {name}: {sorted(unknown)} is not understood")
    conditions = {other: how["condition"] for other, how in values.get("depends_on", {}).items()}
    if unknown := set(conditions.values()) - _CONDITIONS:
        raise Refused(f"service {name}: depends_on with {sorted(unknown)} is not understood")
    return Service(
        name=name,
        command=tuple(values.get("command", ())),
        environment=values.get("environment", {}),
        secrets=dict(_secret(entry) for entry in values.get("secrets", ())),
        user=int(values["user"].partition(":")[0]) if "user" in values else None,
        read_only=values.get("read_only", False),
        tmpfs=tuple(_tmpfs(entry) for entry in values.get("tmpfs", ())),
        scale=values.get("scale", 1),
        depends_on=conditions,
        healthcheck=_healthcheck(name, values.get("healthcheck")),
        grace=_seconds(values.get("stop_grace_period", "10s")),
    )


def _secret(entry: str | Mapping[str, str]) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, f"/run/secrets/{entry}"
    return entry["source"], entry["target"]


def _tmpfs(entry: str) -> tuple[str, str]:
    folder, _, options = entry.partition(":")
    return folder, options or "mode=1777"


def _healthcheck(name: str, values: Mapping[str, Any] | None) -> Healthcheck | None:
    if values is None:
        return None
    if values["test"][0] != "CMD":
        raise Refused(f"service {name}: a health check other than CMD is not understood")
    seconds = _seconds(values.get("start_period", "0s")) + values["retries"] * _seconds(values["interval"])
    return Healthcheck(tuple(values["test"][1:]), seconds)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    if match is None:
        raise Refused(f"{text!r} is not a number of seconds, as '10s'")
    return float(match[1])
