"""The model of a spec, and the depth of the parameterization that it needs."""

from __future__ import annotations

from ipcore.errors import ConfigError
from ipcore.models import MLP, MODELS, Model, model_from
from iplab.v1 import spec_pb2 as pb
from ipserver.request.problems import Problems


def model_of(spec: pb.ExperimentSpec) -> Model:
    """The model of a spec; a multilayer perceptron if the spec names none.

    Raises:
        ConfigError: The model is invalid; names each wrong field.

    >>> model_of(pb.ExperimentSpec()).name
    'mlp'
    """
    if not spec.HasField("model"):
        return MLP
    return model_from({descriptor.name: value for descriptor, value in spec.model.ListFields()})


def parameterization_depth(spec: pb.ExperimentSpec, hidden_layers: int) -> int:
    """Number of hidden layers of the perceptron that has as many weight matrices as the spec's network.

    Parameterizations have one entry per matrix and are built for the depth of a perceptron.

    >>> residual = pb.ExperimentSpec(model=pb.Model(name="residual-mlp", block_matrices=2))
    >>> parameterization_depth(residual, 4), parameterization_depth(pb.ExperimentSpec(), 4)
    (9, 4)
    """
    return model_of(spec).layers(hidden_layers) - 1


def check_model(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Check the model's name, and that it has only settings of this model, within their ranges.

    An invalid model is reported and then removed from the spec, so that the rest can be checked.

    Args:
        spec: With its defaults.
        path: Path of the model.
        problems: Collects the violations.
    """
    try:
        model_of(spec)
    except ConfigError as error:
        for text in error.problems:
            field, _, message = text.partition(": ")
            problems.add(f"{path}.{field}", message)
        known = spec.model.name in MODELS
        name = spec.model.name
        spec.ClearField("model")
        if known:
            spec.model.name = name
