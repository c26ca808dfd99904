"""The shape of a pack: what it asks for, as a text that databases compare, sort and index.

Packs of one shape fit in the same places, so a dispatcher need look only at the most urgent of each shape,
however many wait.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Of a pack that says nothing of its resources.
ONE_CORE: Final = '{"cpus":1.0}'


def shape_of(amounts: Mapping[str, float]) -> str:
    """The text for amounts by name ("cpus", "gpus", custom names); equal amounts have equal texts.

    >>> shape_of({"gpus": 0.5, "cpus": 2, "disk": 0})
    '{"cpus":2.0,"gpus":0.5}'
    """
    asked = {name: float(amount) for name, amount in amounts.items() if amount}
    return json.dumps(asked, sort_keys=True, separators=(",", ":"))


@functools.lru_cache(maxsize=4096)
def amounts_of(shape: str) -> Mapping[str, float]:
    """What `shape_of` was given, without what is 0."""
    return MappingProxyType(json.loads(shape))
