"""The model of a spec: what kind of network, and how deep a parameterization it needs."""

from __future__ import annotations

from ipcore.errors import ConfigError
from ipcore.models import MLP, MODELS, Model, model_from
from iplab.v1 import spec_pb2 as pb
from ipserver.request.problems import Problems


def model_of(spec: pb.ExperimentSpec) -> Model:
    """The model of a spec, valid in this respect; without one a multilayer perceptron.

    Raises:
        ConfigError: It is wrong; names each of its fields.

    >>> model_of(pb.ExperimentSpec()).name
    'mlp'
    """
    if not spec.HasField("model"):
        return MLP
    return model_from({descriptor.name: value for descriptor, value in spec.model.ListFields()})


def parameterization_depth(spec: pb.ExperimentSpec, hidden_layers: int) -> int:
    """Hidden layers of a perceptron with as many weight matrices as a network of the spec's model.

    Parameterizations have an entry for each matrix, and are made for the depth of a perceptron.

    >>> residual = pb.ExperimentSpec(model=pb.Model(name="residual-mlp", block_matrices=2))
    >>> parameterization_depth(residual, 4), parameterization_depth(pb.ExperimentSpec(), 4)
    (9, 4)
    """
    return model_of(spec).layers(hidden_layers) - 1


def check_model(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; settings that it has, within their ranges, and no others.

    A wrong model is taken out of the spec once it is noted, so that the rest can be checked.

    Args:
        spec: With its defaults.
        path: Path of the model.
        problems: Where to note what is wrong.
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
