"""The shape of a pack: the resources it asks for, as text that databases compare, sort and index.

Packs of one shape fit in the same places, so a dispatcher looks only at the most urgent pack of each shape,
however many packs wait.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Shape of a pack that does not state its resources.
ONE_CORE: Final = '{"cpus":1.0}'


def shape_of(amounts: Mapping[str, float]) -> str:
    """The shape for amounts by name ("cpus", "gpus", custom names). Equal amounts have equal shapes.

    >>> shape_of({"gpus": 0.5, "cpus": 2, "disk": 0})
    '{"cpus":2.0,"gpus":0.5}'
    """
    asked = {name: float(amount) for name, amount in amounts.items() if amount}
    return json.dumps(asked, sort_keys=True, separators=(",", ":"))


@functools.lru_cache(maxsize=4096)
def amounts_of(shape: str) -> Mapping[str, float]:
    """The amounts of a shape, without zeros; the inverse of `shape_of`."""
    return MappingProxyType(json.loads(shape))
