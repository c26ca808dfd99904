"""`iplab` and `python -m iplab`: what must be right before anything else is imported."""

import os
import sys

# `-m` puts the working folder first on the search path; a `json.py` there would take the library's place. It
# stays where this package itself lies there.
_OWN = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib loads more
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _OWN:
    del sys.path[0]

from iplab.retired import forget_retired  # noqa: E402 - see above
from iplab.shadowing import CLIENT, require_libraries  # noqa: E402 - see above


def main() -> None:
    """The command line."""
    forget_retired(os.environ)
    require_libraries("iplab", CLIENT)
    import warnings  # noqa: PLC0415 - see above

    # PYTHONWARNINGS=error is meant for the user's own programs: it would end this one at a library's warning.
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    from iplab.cli import main as command  # noqa: PLC0415 - see above

    command()


if __name__ == "__main__":
    main()
