"""Private folders that are removed soon after their process ends, even if it is killed.

The process that uses a folder holds a lock on a file in it. The system releases the lock when the process
ends for any reason, so the next process can distinguish an abandoned folder from one in use, and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

_LOCK: Final = ".lock"


class PrivateFolder:
    """A new folder that only its owner can enter; removed when the context ends, or by `remove`.

    Args:
        base: The parent folder, which must exist.
        prefix: Start of the name. `remove_abandoned` finds it by this prefix if its process was killed.

    Attributes:
        path: The folder.

    Raises:
        OSError: The folder cannot be created.
    """

    def __init__(self, base: Path, prefix: str) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
            try:
                self._descriptor = _lock(self.path)
                break
            except (FileNotFoundError, BlockingIOError):
                continue  # another process removed it as abandoned before it was locked
            except OSError:
                self.path.rmdir()
                raise
        # systemd-tmpfiles skips a folder that is itself locked. Not every file system supports that lock.
        self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):
            fcntl.flock(self._folder, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def refresh(self) -> None:
        """Set all times in the folder to now, because cleaners of temporary folders remove old files."""
        for folder, folders, files in os.walk(self.path):
            for name in (".", *folders, *files):
                with contextlib.suppress(OSError):  # it was removed concurrently
                    os.utime(Path(folder) / name, follow_symlinks=False)

    def remove(self) -> None:
        """Remove the folder and its contents. A second call does nothing."""
        if self._descriptor < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._folder)
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def remove_abandoned(base: Path, prefix: str) -> int:
    """Remove this user's folders with that prefix whose process has ended; return their number."""
    removed = 0
    with contextlib.suppress(OSError):  # an unreadable base has no folders of ours
        for folder in sorted(base.glob(f"{prefix}*")):
            with contextlib.suppress(OSError):  # in use, or removed concurrently
                status = folder.lstat()
                if status.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
                    continue
                descriptor = _lock(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
                removed += not folder.exists()
    return removed


def _lock(folder: Path) -> int:
    """Lock a folder; return the descriptor that holds the lock.

    The lock is on a file opened for writing, the only kind that NFS can lock exclusively.

    Raises:
        BlockingIOError: Another process holds the lock.
        FileNotFoundError: The folder was removed.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _LOCK).stat()  # the previous holder of the lock may have removed the folder
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
