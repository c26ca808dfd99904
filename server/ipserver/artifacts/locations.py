"""Folders of a pack in the artifact store, relative to its root."""

from __future__ import annotations


def weights_folder(experiment: str, pack: str) -> str:
    """The folder of all weight files of a pack: one, because each new folder costs a flush to the disk."""
    return f"{experiment}/weights/{pack}"


def checkpoints_folder(experiment: str, pack: str) -> str:
    """The folder of all checkpoints of a pack."""
    return f"{experiment}/checkpoints/{pack}"
