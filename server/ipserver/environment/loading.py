"""Faster loading of large libraries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Disable garbage collection inside the context.

    Libraries create a million permanent objects at import. Scanning them repeatedly takes a fifth of MLflow's
    import time, and an eighth of torch's.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
