"""The only place that parses stored specs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ipcore.catalogue.widths import INFINITE_WIDTH
from iplab.v1.spec_pb2 import ExperimentSpec

_KNOWN: Final = 64


@lru_cache(maxsize=_KNOWN)
def stored_spec(stored: bytes) -> ExperimentSpec:
    """Parse the spec of an experiment's record. The message is cached and shared: do not modify it.

    Specs older than `deferred_width` use deferred weights above 6 neurons per example seen ("cheaper").

    >>> stored_spec(ExperimentSpec(loss="mse").SerializeToString()).loss
    'mse'
    """
    spec = ExperimentSpec.FromString(stored)
    if spec.deferred_weights == "cheaper" and not spec.deferred_width:
        spec.deferred_width = min(6 * spec.steps * spec.batch_size + 1, INFINITE_WIDTH)
    return spec
