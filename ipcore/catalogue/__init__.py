"""The catalogue of available choices, one object per entry. Standard library only.

An entry has a name, a one-line description, its settings with ranges and defaults, its rule of theory as
plain data, and the name of its implementation, which is imported when it is first used. Lists of names,
validation, defaults, `--help`, the tables of the documentation (docs/catalogue.md) and the API's catalogue
come from the entries. The tables below are ordered; iterating over one gives the names.
"""

from ipcore.catalogue.activations import ACTIVATIONS, Activation, find_activation
from ipcore.catalogue.choices import (
    BIASES,
    KEPT_WEIGHTS,
    METRICS,
    NORMALIZATIONS,
    PRECISIONS,
    Choice,
    Precision,
)
from ipcore.catalogue.datasets import (
    DATASETS,
    IMAGES,
    REGISTERED,
    REGISTERED_RULE,
    DatasetInfo,
    canonical_name,
    dataset_info,
    registered_file,
)
from ipcore.catalogue.losses import LOSSES, Loss, loss_misfit, output_dim
from ipcore.catalogue.optimizers import ANALYSED_OPTIMIZERS, KNOWN_OPTIMIZERS, OPTIMIZERS, Optimizer
from ipcore.catalogue.probes import PROBES
from ipcore.catalogue.schedules import SCHEDULES, Course

__all__ = [
    "ACTIVATIONS",
    "ANALYSED_OPTIMIZERS",
    "BIASES",
    "DATASETS",
    "IMAGES",
    "KEPT_WEIGHTS",
    "KNOWN_OPTIMIZERS",
    "LOSSES",
    "METRICS",
    "NORMALIZATIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "PROBES",
    "REGISTERED",
    "REGISTERED_RULE",
    "SCHEDULES",
    "Activation",
    "Choice",
    "Course",
    "DatasetInfo",
    "Loss",
    "Optimizer",
    "Precision",
    "canonical_name",
    "dataset_info",
    "find_activation",
    "loss_misfit",
    "output_dim",
    "registered_file",
]
