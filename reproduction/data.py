"""Datasets for studies that train in this process."""

from __future__ import annotations

import os

from ipcore.data import Dataset, load_dataset


def load(name: str) -> Dataset:
    """A dataset from where the service would take it (`IPLAB_DATA`). Raises DataError as `load_dataset`."""
    return load_dataset(name, os.environ.get("IPLAB_DATA"))
