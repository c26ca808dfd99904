"""`python -m ipserver` is `ipserver`."""

from ipserver.cli import main

main()
