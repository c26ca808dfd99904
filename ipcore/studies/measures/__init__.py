"""Measurement and verdict of one cell at a look: slopes, means, boundaries, remainders.

A measure turns values per width and seed into contrasts with Welch's standard errors
(`ipcore.analysis.welch`), and these into a verdict by the rules of docs/study-rules.md. Every bound errs with
probability a* (`ipcore.studies.looks`).
"""
