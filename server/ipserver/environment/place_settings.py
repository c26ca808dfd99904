"""Settings of the service's storage: home folder, database, artifacts, MLflow."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from ipserver.environment.artifact_root import ArtifactRoot

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/?]+)*")
_MLFLOW = re.compile(r"(https?|(sqlite|postgresql|mysql|mssql)(\+\w+)?)://.+|databricks(-uc)?(://.+)?")


class PlaceSettings(BaseSettings):
    """Settings of folders, databases and buckets."""

    home: Path = Field(Path("~/.iplab"), description="Folder of all files of the service on this machine")
    data: Path | None = Field(
        None, description="Folder of datasets (it holds mnist/); unset: only embedded datasets"
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

    @field_validator("home", "data")
    @classmethod
    def _absolute_folders(cls, value: Path | None) -> Path | None:
        return absolute(value) if value is not None else None

    @field_validator("home")
    @classmethod
    def _in_urls(cls, value: Path) -> Path:
        """Refuse characters that the URLs of SQLite and MLflow, which contain this path, cannot hold."""
        wrong = sorted({letter for letter in str(value) if letter in "?%" or not letter.isprintable()})
        if wrong:
            raise ValueError(
                f"the path contains {', '.join(map(ascii, wrong))}, which the URLs of SQLite and MLflow do "
                "not allow; choose a folder without ?, % and characters that cannot be printed"
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
                "must be a folder, or s3://BUCKET/PREFIX with a bucket's name in lower-case letters and no ?"
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

    @field_validator("mlflow_ui")
    @classmethod
    def _link(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", value):
            raise ValueError("must be http://HOST:PORT or https://HOST, without a user")
        return value

    @model_validator(mode="after")
    def _key_pair(self) -> Self:
        if bool(self.s3_access_key_id) != bool(self.s3_secret_access_key):
            raise ValueError(
                "IPLAB_S3_ACCESS_KEY_ID and IPLAB_S3_SECRET_ACCESS_KEY belong together: set both or neither"
            )
        return self

    @property
    def store_dsn(self) -> str:
        """DSN of the service's own database."""
        return self.store.get_secret_value() or f"sqlite:///{self.home / 'iplab.db'}"

    @property
    def disks(self) -> dict[str, Path]:
        """Folders of this machine that hold the store and the artifacts, by what they hold."""
        found = {}
        if self.store_dsn.startswith("sqlite:///"):
            found["store"] = Path(self.store_dsn.removeprefix("sqlite:///")).parent
        if self.artifact_root.folder is not None:
            found["artifacts"] = self.artifact_root.folder
        return found

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
    def mlflow_page(self) -> str:
        """URL of MLflow's UI, without a user or password."""
        tracking = urlsplit(self.mlflow_tracking_uri.get_secret_value())
        if self.mlflow_ui or tracking.scheme not in {"http", "https"}:
            return self.mlflow_ui or "http://127.0.0.1:5000"
        return f"{tracking.scheme}://{tracking.netloc.rpartition('@')[2]}{tracking.path}"

    @property
    def mlflow_artifacts(self) -> Path | None:
        """Folder for artifacts of MLflow experiments; None if the tracking server decides."""
        return None if self.mlflow_tracking_uri else self.home / "mlflow" / "artifacts"


def absolute(path: Path) -> Path:
    """The absolute path, with links and "~" resolved.

    Raises:
        ValueError: The path cannot be resolved; the message says why.
    """
    try:
        resolved = path.expanduser().resolve()
    except FileNotFoundError:
        raise ValueError(
            "is relative to the working folder, which has been removed; give an absolute path"
        ) from None
    except RuntimeError as error:  # "~" of a user without a home folder, or a cycle of links
        raise ValueError(f"{str(error).rstrip('.')}; give an absolute path") from None
    except OSError as error:
        raise ValueError(f"{error.strerror}; give another path") from None
    try:
        resolved.stat()
    except OSError as error:  # from Python 3.13 on, `resolve` ignores cycles of links
        if error.errno == errno.ELOOP:
            raise ValueError(f"{error.strerror}; give another path") from None
    return resolved
