"""The science of iplab: parameterizations, packed training, evaluation. No service needed.

A trained IP-LLR network in ten lines:

>>> import ipcore
>>> digits = ipcore.load_dataset("digits")
>>> config = ipcore.PackConfig(
...     dataset="digits", hidden_layers=4, width=128, activation="tanh", batch_size=64, steps=200
... )
>>> run = ipcore.RunConfig(
...     ipcore.preset("ip-llr", hidden_layers=4),
...     base_learning_rate=0.1,
...     seed=0,
...     calibration=ipcore.Calibration(),
... )
>>> network = ipcore.train(config, run, digits)
>>> ipcore.evaluate(network, digits.test).accuracy > 0.8
True

Names are imported when they are first used: ``import ipcore`` alone loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipcore.config import Calibration as Calibration
    from ipcore.config import OptimizerSettings as OptimizerSettings
    from ipcore.config import PackConfig as PackConfig
    from ipcore.config import Probes as Probes
    from ipcore.config import RunConfig as RunConfig
    from ipcore.config import Schedule as Schedule
    from ipcore.data import Dataset as Dataset
    from ipcore.data import load_dataset as load_dataset
    from ipcore.models import Mlp as Mlp
    from ipcore.models import ResidualMlp as ResidualMlp
    from ipcore.models.network import Network as Network
    from ipcore.theory import custom as custom
    from ipcore.theory import preset as preset
    from ipcore.training.at_once import train as train
    from ipcore.training.evaluation import Evaluation as Evaluation
    from ipcore.training.evaluation import evaluate as evaluate
    from ipcore.training.holdout import split_training as split_training
    from ipcore.training.slices import Slice as Slice
    from ipcore.training.trainer import Trainer as Trainer

_HOMES = {
    "Calibration": "config",
    "Dataset": "data",
    "Evaluation": "training.evaluation",
    "Mlp": "models",
    "Network": "models.network",
    "OptimizerSettings": "config",
    "PackConfig": "config",
    "Probes": "config",
    "ResidualMlp": "models",
    "RunConfig": "config",
    "Schedule": "config",
    "Slice": "training.slices",
    "Trainer": "training.trainer",
    "custom": "theory",
    "evaluate": "training.evaluation",
    "load_dataset": "data",
    "preset": "theory",
    "split_training": "training.holdout",
    "train": "training.at_once",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ipcore' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"ipcore.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "ipcore":
            raise
        raise ModuleNotFoundError(
            f"ipcore.{name} needs {error.name}, which is not installed: pip install 'iplab[core]' (from a "
            "checkout: pip install '.[core]')",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
