"""Specs as the store keeps them: the only place that parses them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ipcore.catalogue.widths import INFINITE_WIDTH
from iplab.v1.spec_pb2 import ExperimentSpec

_KNOWN: Final = 64


@lru_cache(maxsize=_KNOWN)
def stored_spec(stored: bytes) -> ExperimentSpec:
    """The spec of an experiment's record; the same message for the same bytes, so it must not be changed.

    In specs older than `deferred_width`, "cheaper" means more than 6 neurons for every example seen.

    >>> stored_spec(ExperimentSpec(loss="mse").SerializeToString()).loss
    'mse'
    """
    spec = ExperimentSpec.FromString(stored)
    if spec.deferred_weights == "cheaper" and not spec.deferred_width:
        spec.deferred_width = min(6 * spec.steps * spec.batch_size + 1, INFINITE_WIDTH)
    return spec
