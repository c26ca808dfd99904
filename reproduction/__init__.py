"""Reproduces what theory and the paper claim by experiments of our own: `python -m reproduction`.

Every study is a spec that is measured once: by a service started for it, or in this process where double
precision is needed. What it measured is kept in `results/`, as JSON keyed by the spec; `docs/reproduction.md`
and its pictures are made of these files alone. Not part of the wheel.
"""
