"""Loading of libraries, which makes a million objects that stay and hardly any garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage meanwhile.

    To look again and again among what stays takes a fifth of the CPU with which MLflow loads, an eighth of
    that of torch.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
