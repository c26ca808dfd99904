"""Datasets of a worker, cached between packs."""

from __future__ import annotations

import functools

from ipcore.catalogue import REGISTERED
from ipcore.data import Dataset, files_signature, load_dataset
from ipcore.data.loading import Signature
from ipcore.errors import DataError


@functools.lru_cache(maxsize=1)
def _loaded(name: str, data_root: str | None, signature: Signature) -> Dataset:
    return load_dataset(name, data_root)


def cached_dataset(name: str, data_root: str | None) -> Dataset:
    """A dataset, read again if its files have changed.

    Raises:
        DataError: The dataset is missing or cannot be read.
    """
    try:
        signature = files_signature(name, data_root)
    except OSError as error:
        raise DataError(f"the data folder cannot be read: {error}") from error
    return _loaded(name, data_root, signature)


def digest(dataset: Dataset) -> str | None:
    """Digest of a registered file, which may be replaced; None for datasets determined by their names."""
    return dataset.digest if dataset.name.startswith(REGISTERED) else None
