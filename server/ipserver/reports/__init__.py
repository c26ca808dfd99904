"""Comparison with theory: reads an experiment's measurements from the store, and makes its report."""
