"""`ipserver` and `python -m ipserver`: what must be right before anything else is imported."""

import os
import sys

# `-m` puts the working folder first on the search path; a `json.py` there would take the library's place. It
# stays where this package itself lies there.
_OWN = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib loads more
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _OWN:
    del sys.path[0]

from iplab.retired import forget_retired  # noqa: E402 - see above
from iplab.shadowing import SERVER, require_installed, require_libraries  # noqa: E402 - see above
from ipserver.environment.loading import loading  # noqa: E402 - see above


def main() -> None:
    """The command line."""
    # Whatever this process and those that it starts write is its user's alone: databases, weights, logs.
    os.umask(0o077)
    forget_retired(os.environ)
    require_libraries("ipserver", SERVER)
    require_installed("ipserver", SERVER, "server")
    with loading():
        from ipserver.cli import main as command  # noqa: PLC0415 - see above

    command()


if __name__ == "__main__":
    main()
