"""Settings of the service: environment variables `IPLAB_*`, overridden by command-line options.

`ipserver settings` prints every setting with its meaning and value.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ipserver.errors import StartupError

Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """All settings. Frozen; every part of the service reads the same ones.

    Raises:
        pydantic.ValidationError: Wrong values (`load_settings` turns it into a StartupError).
    """

    model_config = SettingsConfigDict(env_prefix="IPLAB_", frozen=True, extra="ignore")

    home: Path = Field(Path("~/.iplab"), description="Folder of everything the service keeps on this machine")
    data: Path | None = Field(
        None, description="Folder of datasets (it holds mnist/); unset: only embedded ones"
    )
    address: str = Field("127.0.0.1:50051", description="Where the API listens; port 0: a free one")
    insecure: bool = Field(False, description="Allow the API to listen beyond loopback, unencrypted")
    store: str = Field("", description="Database of the service; empty: SQLite in the home folder")
    artifacts: Path | None = Field(
        None, description="Folder of weights and checkpoints; unset: in the home folder"
    )
    mlflow_tracking_uri: str = Field("", description="MLflow's store; empty: SQLite in the home folder")
    ray_address: str = Field("", description="Ray cluster to join; empty: a Ray of its own on this machine")
    cpus: int | None = Field(None, ge=1, description="CPU cores for a Ray of its own; unset: all")

    max_runs: int = Field(20_000, ge=1, le=100_000, description="Most runs in one experiment")
    max_width: int = Field(65_536, ge=1, description="Largest width")
    max_hidden_layers: int = Field(1_000, ge=1, description="Largest depth")
    max_steps: int = Field(10_000_000, ge=1, description="Most updates per run")
    max_run_memory_bytes: int = Field(
        16 << 30, ge=1, description="Largest estimated memory of one run, in bytes"
    )
    max_pack_memory_bytes: int = Field(4 << 30, ge=1, description="Memory a pack is planned for, in bytes")
    max_pack_runs: int = Field(64, ge=1, description="Most runs in one pack")

    slice_seconds: Seconds = Field(1.0, description="How long a worker trains before it reports, in seconds")
    checkpoint_seconds: Seconds = Field(30.0, description="Time between checkpoints of a pack, in seconds")
    lease_seconds: Seconds = Field(15.0, description="How long a silent dispatcher keeps a pack, in seconds")
    max_attempts: int = Field(4, ge=1, description="Attempts at a pack whose worker dies")

    @field_validator("home", "data", "artifacts")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

    @model_validator(mode="after")
    def _loopback(self) -> Settings:
        host, port = split_address(self.address)
        if not port.isdigit() or int(port) > 65_535:
            raise ValueError(
                f"address {self.address!r} is not HOST:PORT with a port of 0 .. 65535, as 127.0.0.1:50051"
            )
        if not is_loopback(host) and not self.insecure:
            raise ValueError(
                f"address {self.address!r} is beyond loopback: anyone who reaches it could submit work. "
                "Use 127.0.0.1, or say --insecure (IPLAB_INSECURE=1) if the network is trusted"
            )
        return self

    @property
    def store_dsn(self) -> str:
        """DSN of the service's own database."""
        return self.store or f"sqlite:///{self.home / 'iplab.db'}"

    @property
    def artifact_root(self) -> Path:
        """Folder below which trainers write."""
        return self.artifacts or self.home / "artifacts"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path | None:
        """Where MLflow experiments put their artifacts; None: where the tracking server says."""
        return None if self.mlflow_tracking_uri else self.home / "mlflow" / "artifacts"

    def environment(self) -> dict[str, str]:
        """Environment variables that give another process these settings."""
        values = self.model_dump(exclude_none=True)
        return {f"IPLAB_{name.upper()}": str(value) for name, value in values.items()}


def split_address(address: str) -> tuple[str, str]:
    """Host and port of HOST:PORT or [HOST]:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def is_loopback(host: str) -> bool:
    """Whether a listening host is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_password(text: str) -> str:
    """A URL as it may be shown.

    A password may hold any character, escaped or not, so it ends at the last "@": rather too much is hidden.

    >>> without_password("postgresql+psycopg://lab:secret@db/iplab")
    'postgresql+psycopg://lab:***@db/iplab'
    >>> without_password("postgresql+psycopg://db/iplab?user=lab&password=secret")
    'postgresql+psycopg://db/iplab?user=lab&password=***'
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", text)


def load_settings(**options: object) -> Settings:
    """Settings from the environment and options (None: not given).

    Raises:
        StartupError: Wrong values; every one is named.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        problems = []
        for item in error.errors():
            name = "IPLAB_" + "_".join(str(part) for part in item["loc"]).upper() if item["loc"] else ""
            value = f"{without_password(str(item['input']))!r}: " if name else ""
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{name}={value}{message}" if name else message)
        raise StartupError("wrong settings: " + "; ".join(problems)) from None


def prepare_home(settings: Settings) -> None:
    """Create the folders that the service writes to.

    Raises:
        StartupError: One of them cannot be created or written.
    """
    for folder in (settings.home, settings.artifact_root, settings.home / "logs", settings.home / "mlflow"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(
                f"cannot create the folder {folder}: {error.strerror}; set IPLAB_HOME"
            ) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StartupError(f"the folder {folder} is not writable; set IPLAB_HOME or mend its permissions")
