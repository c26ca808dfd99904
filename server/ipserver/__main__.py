"""`ipserver` and `python -m ipserver`: set-up that must come before all other imports."""

import os
import sys

# `-m` puts the working folder first on the search path, where a `json.py` would replace the library. It is
# removed unless this package itself is there.
_OWN = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib loads more
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _OWN:
    del sys.path[0]

from iplab.retired import forget_retired  # noqa: E402 - see above
from iplab.shadowing import SERVER, require_installed, require_libraries  # noqa: E402 - see above
from ipserver.environment.loading import loading  # noqa: E402 - see above

_OPEN_FILES = 65_536


def main() -> None:
    """Run the command line."""
    _use_utf8()
    # Files of this process and its children (databases, weights, logs) are accessible only to its user.
    os.umask(0o077)
    forget_retired(os.environ)
    require_libraries("ipserver", SERVER)
    require_installed("ipserver", SERVER, "server")
    _allow_open_files()
    with loading():
        from ipserver.cli import main as command  # noqa: PLC0415 - see above

    command()


def _use_utf8() -> None:
    """Start this command again in Python's UTF-8 mode if names of files are taken for another encoding.

    With PYTHONUTF8=0 and the locale C, a home "é" would otherwise be a name that no URL can hold.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.ignore_environment or "utf8" in sys._xoptions:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _allow_open_files() -> None:
    """Raise the limit of open files, which shells often set to 1024 or 256, as far as permitted.

    Every client of the API and every connection to the store uses one.
    """
    import resource  # noqa: PLC0415 - see above

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


if __name__ == "__main__":
    main()
