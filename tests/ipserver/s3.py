"""A real S3 server on a loopback socket, for tests."""

from __future__ import annotations

import os
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from ipserver.environment.artifact_root import ArtifactRoot

KEY, SECRET = "AKIAIPLABTEST", "the-secret-of-the-tests"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: "http://127.0.0.1:PORT".
        client: A boto3 client, for inspection.
    """

    endpoint: str
    client: Any

    def root(self, prefix: str = "/lab") -> ArtifactRoot:
        """A prefix of a new bucket."""
        bucket = f"b-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket)
        return ArtifactRoot(f"s3://{bucket}{prefix}", self.endpoint, "us-east-1", KEY, SECRET)

    def keys(self, root: ArtifactRoot) -> list[str]:
        """Every key in a root's bucket."""
        bucket = root.url.removeprefix("s3://").partition("/")[0]
        found = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def refuse_everybody(self, *, refuse: bool) -> None:
        """Check keys from now on, which have no rights; or accept all requests again, as at first."""
        data = b"0" if refuse else b"inf"
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", data, headers)
        urllib.request.urlopen(request).close()


@contextmanager
def serving_s3() -> Iterator[S3Server]:
    """An S3 server within the context; credentials of this machine are not used."""
    own = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"}
    own |= {"AWS_EC2_METADATA_DISABLED"}  # state of an earlier server of this process
    kept = {name: os.environ.pop(name) for name in own if name in os.environ}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        yield S3Server(endpoint, client)
    finally:
        server.stop()
        os.environ.pop("AWS_EC2_METADATA_DISABLED", None)
        os.environ.update(kept)
