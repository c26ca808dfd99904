"""Settings of the service, and where they come from.

Sources in order of precedence (earlier sources win):

- the command line;
- the environment variable `IPLAB_` followed by the setting's name (ignored if it is empty);
- a file with the setting's name (`store`, `s3_secret_access_key`) in the folder that `IPLAB_SECRETS` names;
- the TOML file that `IPLAB_SETTINGS` names;
- the default.

`ipserver settings` prints every setting with its meaning and value, but no secret.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.environment.certificates import CertificateFiles, certificate_files
from ipserver.environment.limit_settings import LIMITS, LimitSettings
from ipserver.environment.masking import address, without_password
from ipserver.environment.settings_files import read_file, read_secrets
from ipserver.errors import StartupError

Seconds = Annotated[float, Field(gt=0)]
_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Node = Annotated[dict[Annotated[str, Field(min_length=1)], _Amount], Field(min_length=1)]
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/?]+)*")
_MLFLOW = re.compile(r"(https?|(sqlite|postgresql|mysql|mssql)(\+\w+)?)://.+|databricks(-uc)?(://.+)?")


class Settings(LimitSettings):
    """All settings, including the limits of specs. Frozen. Every part of the service reads the same settings.

    Raises:
        pydantic.ValidationError: Wrong values (`load_settings` turns it into a StartupError).
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
    home: Path = Field(Path("~/.iplab"), description="Folder of all the service stores on this machine")
    data: Path | None = Field(
        None, description="Folder of datasets (it holds mnist/); unset: only embedded datasets"
    )
    address: str = Field("127.0.0.1:50051", description="Address where the API listens; port 0: a free port")
    web: str = Field(
        "",
        description="Address of the web page, HOST:PORT on loopback; empty: the port after the API's; "
        "off: no page",
    )
    insecure: bool = Field(False, description="Allow the API to listen beyond loopback, unencrypted")
    tls: Path | None = Field(
        None,
        description="Folder of secrets for TLS: tls.crt, tls.key and, if clients need certificates, "
        "client-ca.crt; unset: unencrypted. Replaced files are used without a restart",
    )
    tls_certificate: Path | None = Field(
        None, description="File of the API's certificate chain, in place of tls.crt"
    )
    tls_key: Path | None = Field(None, description="File of its private key, in place of tls.key")
    tls_client_ca: Path | None = Field(
        None, description="File of the CAs that sign clients' certificates, in place of client-ca.crt"
    )
    auth: bool = Field(
        False,
        description="Ask every caller for a token, of `ipserver token create` or of the provider below",
    )
    oidc_issuer: str = Field(
        "", description="URL of an OpenID Connect provider whose tokens are accepted too; empty: none"
    )
    oidc_audience: str = Field("", description="Audience that its tokens must name")
    oidc_jwks: str = Field("", description="URL of its keys; empty: as its discovery document says")
    oidc_user_claim: str = Field("sub", description="Claim of its tokens that names the user, as in roles")
    oidc_groups_claim: str = Field(
        "", description="Claim that lists the user's groups, which have roles as group:NAME; empty: none"
    )
    health_address: str = Field(
        "",
        description="HOST:PORT of a second port that answers health checks only, unencrypted, for probes; "
        "empty: none",
    )
    connection_age_seconds: Seconds = Field(
        1800.0,
        description="Seconds after which the API asks a client to connect again, so that load balancers "
        "spread connections; running calls go on for another 10 minutes",
    )
    store: SecretStr = Field(
        SecretStr(""),
        description="Database of the service, as postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE; "
        "empty: SQLite in the home folder",
    )
    artifacts: str = Field(
        "",
        description="Weights and checkpoints: a folder, or s3://BUCKET/PREFIX; empty: in the home folder",
    )
    s3_endpoint_url: str = Field("", description="S3-compatible store, as http://HOST:9000; empty: AWS")
    s3_region: str = Field("", description="Region of the bucket; empty: the endpoint's default")
    s3_access_key_id: SecretStr = Field(
        SecretStr(""), description="S3 access key; empty: AWS's libraries find one (variables, profile, role)"
    )
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="Secret that belongs to the key")
    mlflow_tracking_uri: SecretStr = Field(
        SecretStr(""), description="MLflow's server or database; empty: SQLite in the home folder"
    )
    mlflow_ui: str = Field(
        "",
        description="URL of MLflow's UI, for the web page's links; empty: the tracking server, or "
        "http://127.0.0.1:5000, where `ipserver mlflow` serves it",
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

    @field_validator(
        "settings", "secrets", "home", "data", "tls", "tls_certificate", "tls_key", "tls_client_ca"
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value) if value is not None else None

    @field_validator("home")
    @classmethod
    def _in_urls(cls, value: Path) -> Path:
        """Refuse characters that the URLs of SQLite and MLflow, which contain this path, cannot hold."""
        wrong = sorted({letter for letter in str(value) if letter in "?%" or not letter.isprintable()})
        if wrong:
            raise ValueError(
                f"the path has {', '.join(map(ascii, wrong))} in it, which cannot stand in the addresses of "
                "SQLite and MLflow; choose a folder without ?, % and characters that cannot be printed"
            )
        return value

    @field_validator("artifacts")
    @classmethod
    def _place(cls, value: str) -> str:
        if not value:
            return value
        if "://" not in value:
            return str(absolute(Path(value)))
        value = value.rstrip("/")
        if not _BUCKET.fullmatch(value):
            raise ValueError(
                "must be a folder, or s3://BUCKET/PREFIX with a bucket's name in small letters and no ?"
            )
        return value

    @field_validator("s3_endpoint_url")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/@]+/?", value):
            raise ValueError("must be http://HOST:PORT or https://HOST")
        return value.rstrip("/")

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _tracking(cls, value: SecretStr) -> SecretStr:
        if value and not _MLFLOW.fullmatch(value.get_secret_value()):
            raise ValueError("must be http://HOST:PORT of an MLflow server, or the URL of its database")
        return value

    @field_validator("web")
    @classmethod
    def _near(cls, value: str) -> str:
        host, port = split_address(value)
        if value in {"", "off"} or (port.isdigit() and int(port) <= 65_535 and is_loopback(host)):
            return value
        raise ValueError(
            "must be HOST:PORT on loopback, as 127.0.0.1:50052 (from another machine: ssh -L 50052:127.0.0.1:"
            "50052 HOST), or off"
        )

    @field_validator("mlflow_ui")
    @classmethod
    def _link(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", value):
            raise ValueError("must be http://HOST:PORT or https://HOST, without a user")
        return value

    @field_validator("ray_address")
    @classmethod
    def _ray(cls, value: str) -> str:
        if value.startswith("ray://"):
            raise ValueError(
                "Ray's client protocol loses its actors when its connection breaks; join this machine to the "
                "cluster with `ray start --address HOST:6379 --num-cpus 0`, and say auto or HOST:6379"
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
            raise ValueError(f"has {', '.join(wrong)}; cores are called cpus here, and devices gpus")
        return value

    @model_validator(mode="after")
    def _key_pair(self) -> Settings:
        if bool(self.s3_access_key_id) != bool(self.s3_secret_access_key):
            raise ValueError(
                "IPLAB_S3_ACCESS_KEY_ID and IPLAB_S3_SECRET_ACCESS_KEY belong together: set both or neither"
            )
        return self

    @model_validator(mode="after")
    def _loopback(self) -> Settings:
        host, port = split_address(self.address)
        if not port.isdigit() or int(port) > 65_535:
            raise ValueError(
                f"address {self.address!r} is not HOST:PORT with a port of 0 .. 65535, as 127.0.0.1:50051"
            )
        missing = [
            name
            for name, there in (("TLS (IPLAB_TLS)", self.certificates), ("IPLAB_AUTH=1", self.auth))
            if not there
        ]
        if not is_loopback(host) and missing and not self.insecure:
            raise ValueError(
                f"address {self.address!r} is beyond loopback: anyone who reaches it could submit work, or "
                f"read along. Set {' and '.join(missing)} (docs/laboratory.md), use 127.0.0.1, or say "
                "--insecure (IPLAB_INSECURE=1) if the network is trusted"
            )
        return self

    @model_validator(mode="after")
    def _health(self) -> Settings:
        if self.health_address and not split_address(self.health_address)[1].isdigit():
            raise ValueError(f"health_address {self.health_address!r} is not HOST:PORT")
        return self

    @model_validator(mode="after")
    def _provider(self) -> Settings:
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("IPLAB_OIDC_ISSUER and IPLAB_OIDC_AUDIENCE belong together: set both or neither")
        if self.oidc_issuer and not self.auth:
            raise ValueError(
                "IPLAB_OIDC_ISSUER has no effect without IPLAB_AUTH=1: set it, or leave both out"
            )
        for name in ("oidc_issuer", "oidc_jwks"):
            url = urlsplit(getattr(self, name))
            if url.geturl() and url.scheme != "https" and not is_loopback(url.hostname or ""):
                raise ValueError(f"{name} must be https://HOST/...; only loopback may do without encryption")
        return self

    @model_validator(mode="after")
    def _tls_pair(self) -> Settings:
        _ = self.certificates  # raises
        return self

    @property
    def certificates(self) -> CertificateFiles | None:
        """The files for TLS; None: the API speaks plain HTTP/2."""
        return certificate_files(self.tls, self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def store_dsn(self) -> str:
        """DSN of the service's own database."""
        return self.store.get_secret_value() or f"sqlite:///{self.home / 'iplab.db'}"

    @property
    def disks(self) -> dict[str, Path]:
        """Folders of this machine that hold the store and the artifacts, by which they hold."""
        found = {}
        if self.store_dsn.startswith("sqlite:///"):
            found["store"] = Path(self.store_dsn.removeprefix("sqlite:///")).parent
        if self.artifact_root.folder is not None:
            found["artifacts"] = self.artifact_root.folder
        return found

    @property
    def limits(self) -> dict[str, int]:
        """The limits of specs, by name."""
        return {name: getattr(self, name) for name in LIMITS}

    @property
    def artifact_root(self) -> ArtifactRoot:
        """Root below which trainers write."""
        return ArtifactRoot(
            self.artifacts or str(self.home / "artifacts"),
            endpoint_url=self.s3_endpoint_url,
            region=self.s3_region,
            access_key_id=self.s3_access_key_id.get_secret_value(),
            secret_access_key=self.s3_secret_access_key.get_secret_value(),
        )

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI."""
        return (
            self.mlflow_tracking_uri.get_secret_value() or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"
        )

    @property
    def web_address(self) -> str:
        """Where the web page is served, HOST:PORT; "": nowhere."""
        if self.web:
            return "" if self.web == "off" else self.web
        port = int(split_address(self.address)[1])
        return f"127.0.0.1:{port + 1 if 0 < port < 65_535 else 0}"

    @property
    def mlflow_page(self) -> str:
        """URL of MLflow's UI, without a user or password."""
        tracking = urlsplit(self.mlflow_tracking_uri.get_secret_value())
        if self.mlflow_ui or tracking.scheme not in {"http", "https"}:
            return self.mlflow_ui or "http://127.0.0.1:5000"
        return f"{tracking.scheme}://{tracking.netloc.rpartition('@')[2]}{tracking.path}"

    @property
    def mlflow_artifacts(self) -> Path | None:
        """Folder for artifacts of MLflow experiments; None: the tracking server decides."""
        return None if self.mlflow_tracking_uri else self.home / "mlflow" / "artifacts"

    def environment(self) -> dict[str, str]:
        """Environment variables that give another process these settings."""
        values = self.model_dump(exclude_none=True)
        return {f"IPLAB_{name.upper()}": _plain(value) for name, value in values.items()}

    def shown(self) -> dict[str, str]:
        """Every setting's value with passwords and keys masked."""
        return {name: _masked(name, getattr(self, name)) for name in type(self).model_fields}


def absolute(path: Path) -> Path:
    """The absolute path, with links and "~" resolved.

    Raises:
        ValueError: It cannot be resolved; the message says why.
    """
    try:
        return path.expanduser().resolve()
    except FileNotFoundError:
        raise ValueError(
            "is relative to the working folder, which has been removed; give an absolute path"
        ) from None
    except RuntimeError as error:  # "~" of a user without a home folder, or a cycle of links
        raise ValueError(f"{str(error).rstrip('.')}; give an absolute path") from None
    except OSError as error:
        raise ValueError(f"{error.strerror}; give another path") from None


def split_address(address: str) -> tuple[str, str]:
    """Host and port of HOST:PORT or [HOST]:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def is_loopback(host: str) -> bool:
    """Whether a server on this host is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(**options: object) -> Settings:
    """Settings from the sources that the module names. Options that are None count as not given.

    Raises:
        StartupError: Wrong values (all are named), or a settings file or folder that cannot be read.
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
