"""Measurement against theory: what an experiment has recorded, read from the store, and its report."""
