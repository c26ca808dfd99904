"""Specs as the store keeps them: the only place that parses them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from iplab.v1.spec_pb2 import ExperimentSpec

_KNOWN: Final = 64


@lru_cache(maxsize=_KNOWN)
def stored_spec(stored: bytes) -> ExperimentSpec:
    """The spec of an experiment's record; the same message for the same bytes, so nobody may change it.

    >>> stored_spec(ExperimentSpec(loss="mse").SerializeToString()).loss
    'mse'
    """
    return ExperimentSpec.FromString(stored)
