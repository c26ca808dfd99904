"""One network, trained or not: the content of a weight file (`ipcore.models.weight_header`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ipcore.catalogue import LOSSES, find_activation
from ipcore.errors import ConfigError, WeightsError, unknown
from ipcore.models import MLP, Architecture, Model, model_from, model_to, rms
from ipcore.models.activations import activation
from ipcore.models.files import read_tensors, write_tensors
from ipcore.models.model import depth_of
from ipcore.models.scales import bias_multipliers, multipliers
from ipcore.models.weight_header import (
    BIASES,
    FORMAT,
    MODEL_FORMAT,
    MODEL_HEADER,
    biased,
    keys_of,
    parameterization_of,
)
from ipcore.theory import Parameterization

_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A network with its parameterization.

    Attributes:
        weights: w^1..w^n, each (outputs, inputs), on the CPU.
        biases: Biases of the layers that have one, (outputs,) each, first layer first: none, that of the
            first layer (multiplied by m^{-a_1} like its weights), or all n with multipliers of their own.
        parameterization: Exponents.
        activation: Name of phi.
        loss: Name of the loss it is trained with.
        dataset: Name of the dataset it is trained on.
        base_learning_rate: eta.
        seed: Seed of its normals and batches.
        step: Updates done.
        optimizer: Name of the optimizer, which gives the exponents c their meaning.
        extra: Further header entries (label, experiment, run).
        model: What kind of network.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    parameterization: Parameterization
    activation: str
    loss: str
    dataset: str
    base_learning_rate: float
    seed: int
    step: int
    optimizer: str = "sgd"
    extra: Mapping[str, str] = field(default_factory=dict)
    model: Model = MLP

    @property
    def width(self) -> int:
        """Neurons m of every hidden layer."""
        return int(self.weights[0].shape[0])

    @property
    def input_dim(self) -> int:
        """Numbers d per input."""
        return int(self.weights[0].shape[1])

    @property
    def output_dim(self) -> int:
        """Outputs C."""
        return int(self.weights[-1].shape[0])

    @property
    def architecture(self) -> Architecture:
        """Its kind and sizes, without its weights."""
        return Architecture(self.model, self.hidden_layers, self.width, self.input_dim, self.output_dim)

    @property
    def hidden_layers(self) -> int:
        """Depth L, as the model counts it.

        Raises:
            ValueError: The model has no depth with so many weight matrices.
        """
        return depth_of(self.model, len(self.weights))

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return self.weights[0].dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs f(x).

        Args:
            inputs: (n, d), of the network's dtype.

        Returns:
            (n, C).
        """
        return self.architecture.forward(_Operations(self), inputs)

    def header(self) -> dict[str, str]:
        """The header of this network's file, without its digest."""
        plain = self.model == MLP
        return {
            **self.extra,
            "format": FORMAT if plain else MODEL_FORMAT,
            **({} if plain else {"model": json.dumps(model_to(self.model))}),
            "hidden_layers": str(self.hidden_layers),
            "width": str(self.width),
            "input_dim": str(self.input_dim),
            "output_dim": str(self.output_dim),
            "activation": self.activation,
            "bias": BIASES[min(len(self.biases), 2)],
            "loss": self.loss,
            "dataset": self.dataset,
            "optimizer": self.optimizer,
            "parameterization": json.dumps(self.parameterization.to_dict()),
            "base_learning_rate": repr(self.base_learning_rate),
            "seed": str(self.seed),
            "step": str(self.step),
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def arrays(self) -> dict[str, Tensor]:
        """Tensors by their names in files."""
        tensors = {f"w{layer}": weight for layer, weight in enumerate(self.weights, start=1)}
        return tensors | {f"b{layer}": bias for layer, bias in enumerate(self.biases, start=1)}

    def save(self, path: str | Path, extra: Mapping[str, str] | None = None, *, durable: bool = True) -> None:
        """Write the network to a file (whole or not at all).

        Args:
            path: File to write; its folder must exist.
            extra: Further header entries; they may not take the names of the header's own.
            durable: See `ipcore.models.files.write_tensors`.

        Raises:
            ValueError: `extra` takes such a name.
            OSError: The file cannot be written.
        """
        taken = sorted({*MODEL_HEADER, "sha256"} & set(extra or {}))
        if taken:
            raise ValueError(f"extra header entries may not be called {', '.join(taken)}")
        write_tensors(path, self.arrays(), {**self.header(), **(extra or {})}, durable=durable)

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Read a file of `save`.

        Raises:
            FileNotFoundError: No such file.
            WeightsError: Torn, or not of this format; says what is wrong.
        """
        try:
            tensors, header = read_tensors(path)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        return cls.from_arrays(tensors, header)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> Network:
        """A network from the tensors (or numpy arrays) and the header of a weight file.

        Raises:
            WeightsError: A header entry or tensor is missing, malformed or does not fit the others.
        """
        keys = keys_of(metadata)
        try:
            parameterization = parameterization_of(metadata)
            model = model_from(json.loads(metadata["model"])) if "model" in keys else MLP
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise WeightsError(f"the header is malformed: {error}") from error
        try:
            network = cls(
                weights=tuple(
                    torch.as_tensor(arrays[f"w{layer}"])
                    for layer in range(1, parameterization.hidden_layers + 2)
                ),
                biases=tuple(
                    torch.as_tensor(arrays[f"b{layer}"])
                    for layer in range(1, biased(metadata["bias"], parameterization) + 1)
                ),
                parameterization=parameterization,
                activation=metadata["activation"],
                loss=metadata["loss"],
                dataset=metadata["dataset"],
                base_learning_rate=float(metadata["base_learning_rate"]),
                seed=int(metadata["seed"]),
                step=int(metadata["step"]),
                optimizer=metadata.get("optimizer", "sgd"),
                extra={k: v for k, v in metadata.items() if k not in keys and k != "sha256"},
                model=model,
            )
        except KeyError as error:
            raise WeightsError(f"the file lacks the tensor {error}") from error
        except ValueError as error:
            raise WeightsError(f"the header is malformed: {error}") from error
        _check(network, metadata)
        return network


class _Operations:
    """Operations on one network: values are (n, size)."""

    def __init__(self, network: Network) -> None:
        self._network, self._phi = network, activation(network.activation)
        self._scales = multipliers(network.parameterization, network.width)
        self._bias_scales = bias_multipliers(network.parameterization, network.width)

    def linear(self, layer: int, x: Tensor) -> Tensor:
        h = x @ (self._network.weights[layer - 1] * self._scales[layer - 1]).mT
        if layer <= len(self._network.biases):
            h += self._network.biases[layer - 1] * self._bias_scales[layer - 1]
        return h

    def activate(self, layer: int, h: Tensor) -> Tensor:
        return self._phi.apply(h)

    def normalize(self, layer: int, h: Tensor) -> Tensor:
        return rms.normalized(h)

    def add(self, h: Tensor, branch: Tensor, scale: float) -> Tensor:
        return torch.add(h, branch, alpha=scale)


def _check(network: Network, header: Mapping[str, str]) -> None:
    """The tensors must have the sizes that the header states."""
    try:
        find_activation(network.activation)
    except ConfigError as error:
        raise WeightsError(str(error)) from None
    if network.loss not in LOSSES:
        raise WeightsError(unknown("loss", network.loss, LOSSES))
    dtype = _DTYPES.get(header["dtype"])
    d, m, classes = header["input_dim"], header["width"], header["output_dim"]
    try:
        sizes = Architecture(network.model, int(header["hidden_layers"]), int(m), int(d), int(classes))
    except ValueError as error:
        raise WeightsError(f"the header is malformed: {error}") from error
    if sizes.layers != len(network.weights):
        raise WeightsError(
            f"the parameterization has {len(network.weights)} entries; a network of {network.model.name!r} "
            f"with {sizes.hidden_layers} hidden layers has {sizes.layers} weight matrices"
        )
    specs = sizes.tensors(len(network.biases))
    expected = {spec.name: "x".join(map(str, spec.shape(sizes.width))) for spec in specs}
    for name, tensor in network.arrays().items():
        found = "x".join(map(str, tensor.shape))
        if found != expected[name] or tensor.dtype != dtype:
            raise WeightsError(
                f"tensor {name} is {found} {tensor.dtype}; the header says {expected[name]} {header['dtype']}"
            )
