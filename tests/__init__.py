"""Tests, benchmarks, tools. A package with a file, so that no other one called `tests` is found instead."""
