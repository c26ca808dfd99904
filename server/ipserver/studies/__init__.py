"""Driving studies: rounds become experiments, and their results become the next round or the answer."""
