"""`iplab` and `python -m iplab`: set-up that must come before all other imports."""

import os
import sys

# `-m` puts the working folder first on the search path, where a `json.py` would replace the library. It is
# removed unless this package itself is there.
_OWN = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib loads more
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _OWN:
    del sys.path[0]

from iplab.retired import forget_retired  # noqa: E402 - see above
from iplab.shadowing import CLIENT, require_libraries  # noqa: E402 - see above


def main() -> None:
    """Run the command line."""
    forget_retired(os.environ)
    require_libraries("iplab", CLIENT)
    import warnings  # noqa: PLC0415 - see above

    # PYTHONWARNINGS=error is meant for the user's own programs, and would end this one at a library's
    # warning.
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    from iplab.cli import main as command  # noqa: PLC0415 - see above

    command()


if __name__ == "__main__":
    main()
