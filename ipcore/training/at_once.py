"""Training without slices, for notebooks."""

from __future__ import annotations

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.models.network import Network
from ipcore.training.trainer import Trainer


def train(config: PackConfig, run: RunConfig, dataset: Dataset) -> Network:
    """Train one run to its last step (or until it diverges) and return its network.

    Raises:
        ConfigError: The run cannot be trained on this dataset.
    """
    trainer = Trainer(config, [run], dataset)
    while not trainer.finished:
        trainer.advance()
    return trainer.network(0)
