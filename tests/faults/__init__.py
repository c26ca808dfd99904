"""Fault injection: parts of the service, as real processes, are killed or cut off at chosen moments.

Nothing may be lost. `make test` injects a few faults, `make faults` the whole matrix, and `make ballistic`
random faults for ten minutes.
"""
