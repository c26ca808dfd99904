"""`python -m iplab`: the command line."""

from iplab.cli import main

main()
