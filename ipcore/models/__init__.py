"""Definition of networks: named tensors with roles, forward pass, scales, activations, weight file.

This file, `model`, `tally` and the models themselves are standard library only. To add a model, write a file
beside `mlp` and name its class in `MODELS`.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from ipcore.errors import ConfigError, unknown
from ipcore.models.mlp import MLP, Mlp
from ipcore.models.model import Architecture, Model, Operations, Role, Size, TensorSpec
from ipcore.models.residual_mlp import ResidualMlp

MODELS: Final[Mapping[str, type[Model]]] = {model.name: model for model in (Mlp, ResidualMlp)}
# Models whose passes are also written by hand (`ipcore.engine.pack`); `ipcore.engine.autograd` trains others.
HAND_WRITTEN: Final[tuple[Model, ...]] = (MLP,)

__all__ = [
    "HAND_WRITTEN",
    "MLP",
    "MODELS",
    "Architecture",
    "Mlp",
    "Model",
    "Operations",
    "ResidualMlp",
    "Role",
    "Size",
    "TensorSpec",
    "described",
    "model_from",
    "model_to",
]


def model_from(data: Mapping[str, Any]) -> Model:
    """A model from its name and settings; settings that are left out have their defaults.

    Raises:
        ConfigError: Unknown name or setting, or a setting out of range; names each.

    >>> model_from({"name": "residual-mlp", "block_matrices": 2})
    ResidualMlp(branch_multiplier='depth^-1/2', block_matrices=2, normalization='none')
    """
    name = data.get("name", "")
    if name not in MODELS:
        raise ConfigError([f"name: {unknown('model', str(name), MODELS)}"])
    settings = {key: value for key, value in data.items() if key != "name"}
    known = [field.name for field in fields(MODELS[name])]
    if wrong := [key for key in settings if key not in known]:
        raise ConfigError([f"{key}: {unknown(f'setting of {name}', key, known)}" for key in wrong])
    model = MODELS[name](**settings)
    if problems := model.problems():
        raise ConfigError(problems)
    return model


def described(model: Model) -> str:
    """A model's name and those of its settings that are not as by default.

    >>> described(Mlp(normalization="rms")), described(ResidualMlp())
    ("'mlp' with normalization 'rms'", "'residual-mlp'")
    """
    other = [
        f"{field.name} {value!r}"
        for field in fields(model)
        if (value := getattr(model, field.name)) != field.default
    ]
    return f"{model.name!r} with {', '.join(other)}" if other else repr(model.name)


def model_to(model: Model) -> dict[str, Any]:
    """A model as `model_from` reads it.

    >>> model_to(Mlp())
    {'name': 'mlp', 'normalization': 'none'}
    """
    return {"name": model.name, **asdict(model)}
