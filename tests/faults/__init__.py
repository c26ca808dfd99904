"""Faults: the parts of the service as real processes, killed and cut off at chosen moments; nothing is lost.

`make test` runs a few, `make faults` the whole matrix, `make ballistic` random ones for ten minutes.
"""
