"""`python -m iplab`: the command line."""

import sys
from pathlib import Path

# `-m` puts the working folder first on the search path; a `json.py` there would take the library's place. It
# stays where this package itself lies there.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from iplab.cli import main

main()
