"""SQL that SQLAlchemy has compiled, shared by all engines of this process.

Each engine compiles a statement once, which takes half of the time of a short test: every test has its own
store, and so its own engine.
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

MOST = 4000


class _Shared(LRUCache[Any, Any]):
    """Keys begin with an engine's dialect; those of one kind and driver compile alike."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_any_engine(key), value)


def _of_any_engine(key: Any) -> Any:
    dialect, *rest = key
    return dialect.name, dialect.driver, *rest


@functools.cache
def share() -> None:
    """Share the statements of all engines that are created from now on."""
    shared, begin = _Shared(MOST), sa.Engine.__init__

    @functools.wraps(begin)
    def created(self: sa.Engine, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self._compiled_cache = shared

    sa.Engine.__init__ = created  # type: ignore[method-assign]
