"""Files, addresses and variables of the parts of a service."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import uuid
from pathlib import Path

from ipserver.environment.settings import Settings
from ipserver.environment.surroundings import for_parts
from ipserver.errors import StartupError

_log = logging.getLogger(__name__)

_SUPERVISED = "IPLAB_SUPERVISED"
# Size at which `ipserver up` rotates a log.
LOG_BYTES = 10_000_000


def supervised_environment(settings: Settings) -> dict[str, str]:
    """Environment of a part whose supervisor starts it with a pipe as standard input.

    PYTHONSAFEPATH prevents files in the working folder, such as `ray.py`, from replacing libraries.
    """
    own = {_SUPERVISED: "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
    return {**for_parts(os.environ), **settings.environment(), **own}


def free_address(address: str, option: str = "--address") -> str:
    """The address, with port 0 replaced by a free port.

    Args:
        address: HOST:PORT.
        option: The command line option that chooses another address, for the message.

    Raises:
        StartupError: The port is in use, or the host does not belong to this machine.
    """
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((bare, int(port)))
            return f"{host}:{probe.getsockname()[1]}"
    # OSError also if the kernel lacks IPv6; OverflowError if a consecutive port is above 65535.
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StartupError(
            f"cannot listen on {address}: {why}; another service may run there, "
            f"choose another with {option} HOST:PORT (port 0 takes a free one)"
        ) from None


def _owner(part: str) -> str:
    """Name of this process in leases."""
    return f"{part}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def heartbeat_file(settings: Settings, part: str) -> Path:
    """Heartbeat file of a part."""
    return settings.home / f"{part}.alive"


def log_file(settings: Settings, part: str) -> Path:
    """Log file to which `ipserver up` directs a part's output."""
    return settings.home / "logs" / f"{part}.log"


def make_folder(folder: Path) -> None:
    """Create a folder in the home folder and check that it is writable.

    Raises:
        StartupError: It cannot be created or written.
    """
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"cannot create the folder {folder}: {error.strerror}; set IPLAB_HOME") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"the folder {folder} is not writable; set IPLAB_HOME or correct its permissions")


def rotate_log(path: Path) -> None:
    """Move the contents of a long log to NAME.log.1, replacing the old contents there.

    The part may continue writing, because all writers append to the same file. Text written between the copy
    and the truncation is lost.
    """
    older = path.with_name(f"{path.name}.1")
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
        older.unlink(missing_ok=True)
        shutil.copyfile(path, older)
        os.truncate(path, 0)
    except FileNotFoundError:
        return
    except OSError as error:
        # The disk has no space for a copy, and the log must not fill it.
        older.unlink(missing_ok=True)
        os.truncate(path, 0)
        _log.warning("%s was emptied, since it could not be rotated: %s", path, error.strerror)
