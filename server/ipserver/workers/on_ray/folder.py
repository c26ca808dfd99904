"""The folder and the token of the dispatcher's own Ray."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import secrets
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from ipserver.environment.private_folder import PrivateFolder, remove_abandoned
from ipserver.errors import StartupError

# A Unix socket's path has at most 107 bytes. Ray's longest path below its folder, with the largest pid:
_SOCKET: Final = "/r/session_2026-11-26_22-30-24_299981_4194304/sockets/plasma_store"

_LONGEST: Final = 107 - len(_SOCKET)

# Ray supports only ASCII paths, and does not quote its workers' command line as its own parsing requires.
_UNUSABLE: Final = re.compile(r"[^ -~]|['\"\\]")

# Temporary folders with short paths. Folders in them get unique names and are accessible only to their owner.
_SHORT: Final = ("/tmp", "/var/tmp")  # noqa: S108

_REFRESH_SECONDS: Final = 3600.0


def ray_folder(home: Path | None) -> PrivateFolder:
    """Make a folder for our own Ray, and remove the folders of killed dispatchers.

    The folder is in the home folder, which no cleaner of temporary files touches. If that path is too long
    for a Unix socket, or has letters that Ray cannot use, or its file system does not support sockets, the
    folder is in a temporary folder; there a lock and renewed times protect it from cleaners.

    Args:
        home: Home folder of the service; None: use a temporary folder.

    Raises:
        StartupError: No place is usable. Gives the reason for each and the settings that name them.
    """
    remove_abandoned_ray_folders(home)
    tried: dict[Path, str] = {}
    for base, prefix in _places(home):
        if found := _UNUSABLE.search(str(base)):
            tried[base] = f"Ray cannot use a path with {found[0]!r}"
            continue
        if len(os.fsencode(base / f"{prefix}12345678")) > _LONGEST:
            tried[base] = f"its path is longer than {_LONGEST - len(prefix) - 9} bytes"
            continue
        try:
            folder = PrivateFolder(base, prefix)
        except OSError as error:
            tried[base] = error.strerror or str(error)
            continue
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(str(folder.path / "socket"))
        except OSError as error:
            tried[base] = f"no socket can be made there: {error.strerror or error}"
            folder.remove()
            continue
        threading.Thread(target=_keep_fresh, args=(folder,), name="ray folder", daemon=True).start()
        return folder
    reasons = "; ".join(f"{base}: {why}" for base, why in tried.items())
    raise StartupError(
        f"Ray needs a folder with a short path for its sockets; none is usable ({reasons}). Set IPLAB_HOME "
        "or TMPDIR to a folder with a short path of plain letters on a local disk"
    )


def remove_abandoned_ray_folders(home: Path | None) -> None:
    """Remove the folders of this user's killed dispatchers."""
    for base, prefix in _places(home):
        remove_abandoned(base, prefix)


def ray_folders(home: Path) -> list[Path]:
    """The folders of Rays of this user that may run now."""
    return [
        folder
        for base, prefix in _places(home)
        if base.is_dir()
        for folder in sorted(base.glob(f"{prefix}*"))
        if folder.is_dir()
    ]


def _places(home: Path | None) -> list[tuple[Path, str]]:
    """Places for Ray's folder, best first, each with the prefix of its name there."""
    names = dict.fromkeys((_temporary(), *_SHORT))
    temporary = [(Path(name), f"iplab-{os.getuid()}-") for name in names if name]
    return [(home, "ray-"), *temporary] if home else temporary


def own_token(folder: Path) -> Path:
    """The file with the token by which processes of our own Ray authenticate; created if it is missing.

    Dispatchers that start at once in one home get the same token: the first one writes it under a lock, and
    none replaces it.

    Args:
        folder: The home folder, which holds it.

    Raises:
        StartupError: It can be neither read nor written.
    """
    path = folder / "ray-token"
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not file.read().strip():  # it is new, or its writer was interrupted
                file.seek(0)
                file.write(_new_token())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise StartupError(
            f"the token of Ray's processes, {path}, cannot be used: {error.strerror}; set IPLAB_HOME or "
            "correct its permissions"
        ) from None
    return path


@functools.cache
def _new_token() -> str:
    """A random token, generated once per process: Ray reads its token only once in a process."""
    return secrets.token_hex(32)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return ""


def _keep_fresh(folder: PrivateFolder) -> None:
    # Block SIGTERM here too: a signal blocked by the main thread would be delivered to this thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while folder.path.exists():
        time.sleep(_REFRESH_SECONDS)
        folder.refresh()
