"""Where artifacts lie, as settings say it and workers are told it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """Below which place files lie, and how to get in. A plain value; it crosses process boundaries.

    Attributes:
        url: An absolute folder, or "s3://bucket/prefix".
        endpoint_url: Of an S3-compatible store; "": AWS.
        region: "": what the endpoint takes for granted.
        access_key_id: "": what AWS's libraries find (environment, profile, role of the machine).
        secret_access_key: With `access_key_id`. Neither is ever shown.
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
        """The folder; None: it lies in S3."""
        return None if self.url.startswith("s3://") else Path(self.url)
