"""How one cell is measured and judged at a look: slopes, means, boundaries, remainders.

A measure turns values per width and seed into contrasts with Welch's standard errors
(`ipcore.analysis.welch`), and these into a verdict by the rules of docs/study-rules.md. Every bound errs with
probability a* (`ipcore.studies.looks`).
"""
