"""The store: the source of truth for experiments, runs, packs, leases, events and metric segments.

`open_store(dsn)` returns a `Store`; `migrate(dsn)` brings its tables up to date and `check_schema(store)`
checks that they are. The names are imported on first use, so workers can import `ipserver.store.records`
without a database library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipserver.store.schema import check_schema, migrate
    from ipserver.store.store import Store, open_store

__all__ = ["Store", "check_schema", "migrate", "open_store"]

_HOMES = {
    "Store": "ipserver.store.store",
    "check_schema": "ipserver.store.schema",
    "migrate": "ipserver.store.schema",
    "open_store": "ipserver.store.store",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
