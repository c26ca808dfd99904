"""Drives studies: turns rounds into experiments, and results into the next round or the answer."""
