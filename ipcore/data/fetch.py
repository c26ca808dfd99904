"""Downloads published datasets and verifies them before they can be used.

Files are downloaded into a temporary folder, compared with the published checksums, and then renamed into
place. So the data folder holds only complete, verified files, even if a download is interrupted.
"""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ipcore.data.cifar import CifarSource
from ipcore.data.idx import IdxSource
from ipcore.data.loading import PUBLISHED
from ipcore.errors import DataError, unknown

_TIMEOUT_SECONDS: Final = 60.0
_CHUNK: Final = 1 << 20
# The largest published file has 170 MB; a longer download is refused.
_LARGEST_BYTES: Final = 400 * 2**20


def fetch(
    name: str,
    data_root: str | Path,
    base_url: str = "",
    *,
    sources: dict[str, IdxSource | CifarSource] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Download what is missing of a published dataset.

    Args:
        name: "mnist", "fashion-mnist", "cifar10" or "cifar10-grey" (which share their file).
        data_root: Data folder; made if it is not there. Files go into its subfolder.
        base_url: Where the files lie, for a mirror; "": at their publishers.
        sources: Sources that can be fetched, by name.
        say: Called with one line per file.

    Returns:
        The dataset's folder.

    Raises:
        DataError: Not a published dataset, no connection, or files that do not have the published checksums.
        OSError: The folder cannot be written.
    """
    known = PUBLISHED if sources is None else sources
    if name not in known:
        raise DataError(unknown("published dataset", name, known))
    source = known[name]
    base = base_url or source.url
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise DataError(f"{base!r} is not an http or https address")
    folder = Path(data_root) / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        for file in source.downloads:
            target, part = folder / file, Path(temporary) / file
            if target.is_file() and _verified(source, target):
                say(f"{target}: there, verified")
                continue
            url = f"{base.rstrip('/')}/{file}"
            size = _download(url, part)
            source.verify_download(part)
            part.replace(target)
            say(f"{target}: {size:,} bytes from {url}, verified")
    return folder


def _verified(source: IdxSource | CifarSource, path: Path) -> bool:
    try:
        source.verify_download(path)
    except DataError:
        return False  # it is fetched again
    return True


def _download(url: str, target: Path) -> int:
    size = 0
    try:
        # The scheme was checked: http or https.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response, target.open("wb") as file:  # noqa: S310
            announced = response.headers.get("Content-Length")
            while chunk := response.read(_CHUNK):
                size += len(chunk)
                if size > _LARGEST_BYTES:
                    raise DataError(
                        f"{url} sends more than {_LARGEST_BYTES:,} bytes; it is not a published file"
                    )
                file.write(chunk)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise DataError(f"{url} cannot be fetched: {error}; try again, or name a mirror (--from)") from error
    if announced is not None and size != int(announced):
        raise DataError(f"{url} broke off after {size:,} of {announced} bytes; try again")
    return size
