"""`python -m iplab.cli`."""

from iplab.cli import main

main()
