"""Limits on the size of specs. Their defaults are options of the proto fields."""

from __future__ import annotations

from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.fields import default_of, fields_of


def limits_with(**chosen: int) -> Limits:
    """The limits on specs, with defaults for those that are not chosen.

    Args:
        chosen: Limits by name; those left out have their defaults.

    Raises:
        ValueError: There is no such limit.

    >>> limits_with(max_width=64).max_width, limits_with().max_runs
    (64, 20000)
    """
    defaults = {name: int(default_of(field)) for name, field in fields_of(Limits).items()}
    return Limits(**{**defaults, **chosen})
