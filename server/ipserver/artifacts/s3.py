"""Artifacts below a prefix of a bucket in S3 or a compatible store: the only file that imports s3fs.

S3 needs no rename: an object appears whole or not at all, and no object is read before a commit refers to it.
Files are first written to this machine's temporary folder, because their formats need to seek.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, NoCredentialsError, ProxyConnectionError
from fsspec.asyn import FSTimeoutError, sync

from ipserver.artifacts import CHUNK_BYTES, Stored, measured, writing
from ipserver.artifacts.scratch import scratch_folder
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.environment.surroundings import proxy_of, settings_of_aws
from ipserver.errors import ArtifactDamaged, ArtifactsUnavailable

# With growing pauses, these attempts bridge an outage of about half a minute. A check at start tries once,
# with a short timeout; the settings decide whether it is repeated.
_ATTEMPTS: Final = 8
_CONNECT_SECONDS, _READ_SECONDS, _CHECK_SECONDS = 5, 30, 10
# s3fs retries after botocore gives up. Only s3fs retries an interrupted response, so it makes two attempts.
_ROUNDS: Final = 2
# No other timeout applies during an upload: a store that accepts connections but reads nothing would block
# the upload indefinitely. A store slower than this rate, including all retries, is considered unreachable.
_PUT_SECONDS, _PUT_BYTES_PER_SECOND = 300, 2**20
# Bytes per request, so that a slow reader of a large file does not hold a connection.
_RANGE_BYTES: Final = 8 * CHUNK_BYTES
_DELETED_AT_ONCE: Final = 1000  # S3's limit


class S3Artifacts:
    """See `ArtifactStore`. The credentials allow list on the bucket; get, put and delete below the prefix."""

    def __init__(self, root: ArtifactRoot) -> None:
        self._root = root
        self._base = root.url.removeprefix("s3://").rstrip("/")
        self._bucket = self._base.partition("/")[0]
        self._s3 = _file_system(root, _ATTEMPTS, _ROUNDS, _READ_SECONDS)

    def put(self, location: str, write: Callable[[Path], object]) -> Stored:
        """See `ArtifactStore.put`."""
        key = self._key(location)
        with scratch_folder() as folder:
            path = folder / PurePosixPath(location).name
            with writing(str(path)):
                write(path)
                stored = measured(path)
            with self._asking(f"{location} cannot be written"):
                seconds = _PUT_SECONDS + stored.size_bytes / _PUT_BYTES_PER_SECOND
                _in_time(self._s3, seconds, self._s3._put_file, str(path), key)
        return stored

    @contextmanager
    def reading(self, location: str, sha256: str) -> Iterator[Path]:
        """See `ArtifactStore.reading`: a copy in this machine's temporary folder."""
        key = self._key(location)
        with scratch_folder() as folder:
            path = folder / PurePosixPath(location).name
            with self._asking(f"{location} cannot be read"):
                self._s3.get_file(key, str(path))
            if measured(path).sha256 != sha256:
                raise ArtifactDamaged(f"s3://{key} does not have its recorded checksum")
            yield path

    def size(self, location: str) -> int | None:
        """See `ArtifactStore.size`."""
        key = self._key(location)
        with self._asking(f"{location} cannot be read"):
            try:
                found = self._s3.call_s3("head_object", Bucket=self._bucket, Key=self._name(key))
            except FileNotFoundError:
                return None
        return int(found["ContentLength"])

    def chunks(self, location: str, offset: int = 0) -> Iterator[bytes]:
        """See `ArtifactStore.chunks`."""
        key = self._key(location)
        size = self.size(location)
        if size is None:
            raise ArtifactDamaged(f"s3://{key} is missing")
        for start in range(offset, size, _RANGE_BYTES):
            with self._asking(f"{location} cannot be read"):
                data = memoryview(self._s3.cat_file(key, start=start, end=min(start + _RANGE_BYTES, size)))
            for place in range(0, len(data), CHUNK_BYTES):
                yield bytes(data[place : place + CHUNK_BYTES])

    def below(self, location: str) -> Iterator[str]:
        """See `ArtifactStore.below`."""
        with self._asking(f"{location} cannot be listed"):
            found = self._s3.find(self._key(location))
        for key in found:
            yield key.removeprefix(f"{self._base}/")

    def delete(self, locations: Iterable[str]) -> None:
        """See `ArtifactStore.delete`."""
        self._delete([self._key(location) for location in locations])

    def delete_folder(self, location: str) -> None:
        """See `ArtifactStore.delete_folder`."""
        self.delete(self.below(location))

    def delete_empty(self, location: str) -> None:
        """See `ArtifactStore.delete_empty`: nothing to do."""

    def check(self, *, write: bool) -> None:
        """See `ArtifactStore.check`."""
        once = _file_system(self._root, 1, 1, _CHECK_SECONDS)
        with self._asking("the bucket cannot be reached"):
            try:
                once.call_s3("head_bucket", Bucket=self._bucket)
            except FileNotFoundError:
                raise ArtifactsUnavailable(f"{self._root}: there is no bucket {self._bucket!r}") from None
        if write:
            probe = f"{self._base}/.iplab-probe-{uuid.uuid4().hex}"
            with self._asking("it cannot be written"):
                _in_time(once, _CHECK_SECONDS, once._pipe_file, probe, b"")
                once.rm_file(probe)

    def _delete(self, keys: list[str]) -> None:
        names = [{"Key": self._name(key)} for key in keys]
        for start in range(0, len(names), _DELETED_AT_ONCE):
            request = {"Objects": names[start : start + _DELETED_AT_ONCE], "Quiet": True}
            with self._asking("files cannot be deleted"):
                answer = self._s3.call_s3("delete_objects", Bucket=self._bucket, Delete=request)
            for refused in answer.get("Errors", [])[:1]:
                raise ArtifactsUnavailable(
                    f"{self._root}: {refused['Key']} is not deleted: {refused['Message']}"
                )

    def _key(self, location: str) -> str:
        if PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
            raise ArtifactDamaged(f"{location!r} lies outside the artifact folder")
        return f"{self._base}/{location}"

    def _name(self, key: str) -> str:
        """S3's own key for a key of s3fs, which starts with the bucket."""
        return key.removeprefix(f"{self._bucket}/")

    @contextmanager
    def _asking(self, trouble: str) -> Iterator[None]:
        """Convert errors of S3 and of s3fs's libraries to one error that shows no key."""
        try:
            yield
        except FileNotFoundError:
            raise ArtifactDamaged(f"{self._root}: {trouble}: it is missing") from None
        except NoCredentialsError as error:
            raise ArtifactsUnavailable(
                f"{self._root}: {trouble}: no credentials; set IPLAB_S3_ACCESS_KEY_ID and "
                "IPLAB_S3_SECRET_ACCESS_KEY, or credentials of AWS's own libraries"
            ) from error
        except (OSError, BotoCoreError, aiohttp.ClientError) as error:
            # AWS's libraries also read a profile and other variables when keys are given.
            others = settings_of_aws(os.environ) if isinstance(error, BotoCoreError) else []
            also = f" (in the environment: {', '.join(others)})" if others else ""
            proxied = proxy_of(self._root.endpoint_url) if isinstance(error, ProxyConnectionError) else None
            way = f"; {proxied[0]} names the proxy: add the store's host to no_proxy" if proxied else ""
            raise ArtifactsUnavailable(
                f"{self._root}: {trouble}: {type(error).__name__}: {error}{also}{way}"
            ) from error


def _in_time(system: Any, seconds: float, coroutine: Callable[..., Any], *args: object) -> None:
    """Run one of s3fs's coroutines, as its methods do, with a timeout in seconds."""
    try:
        sync(system.loop, coroutine, *args, timeout=seconds)
    except FSTimeoutError:
        raise TimeoutError(f"not done within {seconds:.0f} s") from None


def _file_system(root: ArtifactRoot, attempts: int, rounds: int, read_seconds: float) -> Any:
    """Instances with equal arguments are shared, so a worker's next pack reuses open connections."""
    system = s3fs.S3FileSystem(
        key=root.access_key_id or None,
        secret=root.secret_access_key or None,
        endpoint_url=root.endpoint_url or None,
        client_kwargs={"region_name": root.region} if root.region else {},
        config_kwargs={
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": read_seconds,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
        },
        use_listings_cache=False,
    )
    system.retries = rounds
    return system
