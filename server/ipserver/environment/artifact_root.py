"""The artifact root: location and credentials of the artifacts, from settings, and as passed to workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """Location of the artifacts and the credentials for it. A plain value that is sent to other processes.

    Attributes:
        url: An absolute folder, or "s3://bucket/prefix".
        endpoint_url: URL of an S3-compatible store; "" for AWS.
        region: Region of the bucket; "" for the endpoint's default.
        access_key_id: Access key; "" lets AWS's libraries find one (environment, profile, role of the
            machine).
        secret_access_key: Secret that belongs to `access_key_id`. Neither is shown.
    """

    url: str
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.url} at {self.endpoint_url}" if self.endpoint_url else self.url

    @property
    def folder(self) -> Path | None:
        """The folder; None if the root is in S3."""
        return None if self.url.startswith("s3://") else Path(self.url)
