"""Settings of the service, and their sources.

Sources in order of precedence (earlier sources win):

- the command line;
- the environment variable `IPLAB_` followed by the setting's name (ignored if it is empty);
- a file with the setting's name (`store`, `s3_secret_access_key`) in the folder that `IPLAB_SECRETS` names;
- the TOML file that `IPLAB_SETTINGS` names;
- the default.

`ipserver settings` prints every setting with its meaning and value, but no secret.
"""

from __future__ import annotations

import json
import os
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ipserver.environment.addresses import split_address
from ipserver.environment.api_settings import ApiSettings, Seconds
from ipserver.environment.limit_settings import LIMITS, LimitSettings
from ipserver.environment.masking import address, without_password
from ipserver.environment.place_settings import PlaceSettings, absolute
from ipserver.environment.settings_files import read_file, read_secrets
from ipserver.errors import StartupError

_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Node = Annotated[dict[Annotated[str, Field(min_length=1)], _Amount], Field(min_length=1)]


class Settings(ApiSettings, PlaceSettings, LimitSettings):
    """All settings, including the limits of specs. Frozen. Every part of the service reads the same settings.

    Raises:
        pydantic.ValidationError: A value is invalid (`load_settings` converts it to a StartupError).
    """

    model_config = SettingsConfigDict(
        env_prefix="IPLAB_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    settings: Path | None = Field(
        None, description="TOML file of settings, with the names below in lower case"
    )
    secrets: Path | None = Field(
        None, description="Folder of secrets: one file per setting, named as the setting in lower case"
    )
    ray_address: str = Field(
        "",
        description="Ray cluster to join: HOST:PORT of its head, or auto for the cluster that this machine "
        "belongs to; empty: the dispatcher starts its own Ray on this machine",
    )
    cpus: int | None = Field(None, ge=1, description="CPU cores for the dispatcher's own Ray; unset: all")
    ready_workers: int = Field(
        4,
        ge=0,
        description="Workers of one core that the dispatcher's own Ray keeps ready, 0.4 GB of memory each; "
        "at most one per core",
    )
    # NoDecode: the validator below reads the JSON from any source, so that its errors name the setting.
    expected_nodes: Annotated[tuple[_Node, ...], NoDecode] = Field(
        (),
        description="One of each kind of node that the Ray cluster's autoscaler can add, as JSON such as "
        '[{"cpus": 8, "gpus": 1}] (in the TOML file a list of tables); a pack may wait for such a node; '
        "empty: none",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Logs as text, or as json: one JSON object a line"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level of log lines; DEBUG has a line for every call of the API"
    )
    wait_seconds: float = Field(
        0.0, ge=0, description="Seconds a part waits at its start for services that it needs; 0: it ends"
    )

    max_pack_memory_bytes: int = Field(
        4 << 30, ge=1, description="Maximum estimated memory of a pack, in bytes"
    )
    max_pack_runs: int = Field(1024, ge=1, description="Maximum number of runs in one pack")

    slice_seconds: Seconds = Field(1.0, description="How long a worker trains before it reports, in seconds")
    checkpoint_seconds: Seconds = Field(30.0, description="Time between checkpoints of a pack, in seconds")
    mlflow_points_per_second: float = Field(
        5000.0, ge=100, description="Maximum number of metric points sent to MLflow per second, on average"
    )
    sweep_seconds: Seconds = Field(
        600.0,
        description="Seconds after a pack's end until its unreferenced files are removed; a worker that was "
        "cut off may write until then",
    )
    min_free_bytes: int = Field(
        512 << 20,
        ge=0,
        description="Bytes that must be free on the disks of store and artifacts, where they are files of "
        "the API's machine, for something new to be accepted; 0: no limit",
    )
    deleted_seconds: Seconds = Field(
        30 * 86_400.0,
        description="Seconds for which a deleted experiment or study can be undeleted; then it is purged, "
        "with its weights and other files. A change counts for later deletions",
    )
    audit_seconds: Seconds = Field(
        365 * 86_400.0,
        description="Seconds for which the audit log keeps entries",
    )
    lease_seconds: Seconds = Field(
        15.0,
        description="Length of a dispatcher's leases of packs, in seconds; the forwarder's lease is twice as "
        "long",
    )
    worker_start_seconds: Seconds = Field(
        300.0,
        description="Seconds a worker's process may take to start while its resources are free; after that, "
        "the dispatcher's own Ray is replaced; in a cluster the pack is tried on another node or later",
    )
    placement_timeout_seconds: Seconds = Field(
        3600.0,
        description="Seconds a pack waits while no node, present or expected, could hold it; then its runs "
        "fail. A pack that waits for resources in use by others has no time limit",
    )
    max_attempts: int = Field(
        4,
        ge=1,
        description="A pack fails after this many attempts in a row that lose their worker before a commit",
    )
    max_attempts_lease_lost: int = Field(
        10, ge=1, description="The same for attempts whose dispatcher dies or loses the store"
    )
    max_attempts_out_of_memory: int = Field(
        2, ge=1, description="The same for attempts that run out of memory"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources in order of precedence (see the module)."""
        known = frozenset(settings_cls.model_fields) - {"settings", "secrets"}
        secrets, file = (
            InitSettingsSource(settings_cls, init_kwargs=read(os.environ.get(name, ""), known))
            for name, read in (("IPLAB_SECRETS", read_secrets), ("IPLAB_SETTINGS", read_file))
        )
        return init_settings, env_settings, secrets, file

    @field_validator("settings", "secrets")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value) if value is not None else None

    @field_validator("ray_address")
    @classmethod
    def _ray(cls, value: str) -> str:
        if value.startswith("ray://"):
            raise ValueError(
                "Ray's client protocol loses its actors when its connection breaks; join this machine to the "
                "cluster with `ray start --address HOST:6379 --num-cpus 0`, and use auto or HOST:6379"
            )
        if value not in {"", "auto"} and not split_address(value)[1].isdigit():
            raise ValueError("must be HOST:PORT of the cluster's head, or auto")
        return value

    @field_validator("expected_nodes", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f'must be JSON such as [{{"cpus": 8, "gpus": 1}}]: {error}') from None

    @field_validator("expected_nodes")
    @classmethod
    def _our_names(cls, value: tuple[_Node, ...]) -> tuple[_Node, ...]:
        wrong = sorted({name for node in value for name in node if name.lower() in {"cpu", "gpu"}})
        if wrong:
            raise ValueError(f"has {', '.join(wrong)}; use the names cpus for cores and gpus for devices")
        return value

    @property
    def limits(self) -> dict[str, int]:
        """The limits of specs, by name."""
        return {name: getattr(self, name) for name in LIMITS}

    def environment(self) -> dict[str, str]:
        """Environment variables that give another process these settings."""
        values = self.model_dump(exclude_none=True)
        return {f"IPLAB_{name.upper()}": _plain(value) for name, value in values.items()}

    def shown(self) -> dict[str, str]:
        """Every setting's value with passwords and keys masked."""
        return {name: _masked(name, getattr(self, name)) for name in type(self).model_fields}


def load_settings(**options: object) -> Settings:
    """Load settings from the sources above. Options that are None count as not given.

    Raises:
        StartupError: Values are invalid (all are named), or a settings file or folder cannot be read.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        problems = []
        for item in error.errors():
            setting, *inside = item["loc"] or ("",)
            name = f"IPLAB_{setting}".upper() + "".join(f"[{part!r}]" for part in inside) if setting else ""
            value = f"{_REPR.repr(_masked(str(item['loc'][0]), item['input']))}: " if name else ""
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{name}={value}{message}" if name else message)
        raise StartupError("wrong settings: " + "; ".join(problems)) from None


# Shortens long wrong values in error messages.
_REPR = reprlib.Repr()
_REPR.maxstring = 200


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


_URLS = frozenset({"store", "mlflow_tracking_uri"})


def _masked(name: str, value: object) -> str:
    """A setting's value for display. In URLs only the password is masked, other secrets entirely."""
    text = "" if value is None else _plain(value)
    if name in _URLS:
        return address(text)
    if Settings.model_fields[name].annotation is not SecretStr:
        return without_password(text)
    return "***" if text else ""
