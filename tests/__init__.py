"""Tests, benchmarks and tools. This file makes it a package, so that no other package `tests` is found."""
