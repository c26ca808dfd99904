"""One trained (or untrained) network: what weight files hold and what is evaluated.

Format "iplab-weights/2": safetensors with tensors ``w1`` .. ``w{L+1}``, each (outputs, inputs), and ``b1``,
(outputs,), ... for the layers that have a bias. They are the w^l of W^l = m^{-a_l} w^l, *not* multiplied by
m^{-a_l}, and likewise the biases. The header maps text to text: `HEADER` names its keys. "parameterization"
is the JSON text of `ipcore.theory.Parameterization.to_dict`: exact exponents ("-5/2"), with biases, mean and
re-weightings where there are any. What re-weighting has made of the initial weights is in the tensors.

"iplab-weights/1" is read too: it knows a bias in the first layer only and has exponents under "a", "b", "c".
"""

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
from ipcore.models.activations import activation
from ipcore.models.files import read_tensors, write_tensors
from ipcore.models.scales import bias_multipliers, biased_layers, multipliers
from ipcore.theory import Parameterization, RatePhase, parse_exponent

FORMAT: Final = "iplab-weights/2"
HEADER: Final = (
    "format", "hidden_layers", "width", "input_dim", "output_dim", "activation", "bias", "loss", "dataset",
    "optimizer", "parameterization", "base_learning_rate", "seed", "step", "dtype",
)  # fmt: skip
_FIRST_FORMAT: Final = "iplab-weights/1"
_FIRST_HEADER: Final = (
    *(key for key in HEADER if key not in ("optimizer", "parameterization")),
    "a",
    "b",
    "c",
)
# Layers with a bias, counted from the first, by the header's "bias".
_BIASES: Final = ("none", "first", "every")
_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A multilayer perceptron with its parameterization.

    Attributes:
        weights: w^1..w^{L+1}, each (outputs, inputs), on the CPU.
        biases: Biases of the layers that have one, (outputs,) each, first layer first: none, that of the
            first layer (multiplied by m^{-a_1} like its weights), or all L+1 with multipliers of their own.
        parameterization: Exponents.
        activation: Name of phi.
        loss: Name of the loss it is trained with.
        dataset: Name of the dataset it is trained on.
        base_learning_rate: eta.
        seed: Seed of its normals and batches.
        step: Updates done.
        optimizer: Name of the optimizer, which gives the exponents c their meaning.
        extra: Further header entries (label, experiment, run).
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
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weights[0].dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs f(x).

        Args:
            inputs: (n, d), of the network's dtype.

        Returns:
            (n, C).
        """
        x = inputs
        phi = activation(self.activation)
        scales = multipliers(self.parameterization, self.width)
        bias_scales = bias_multipliers(self.parameterization, self.width)
        for layer, (weight, scale) in enumerate(zip(self.weights, scales, strict=True), start=1):
            h = x @ (weight * scale).mT
            if layer <= len(self.biases):
                h += self.biases[layer - 1] * bias_scales[layer - 1]
            x = h if layer == len(self.weights) else phi.apply(h)
        return x

    def header(self) -> dict[str, str]:
        """The header of this network's file, without its digest."""
        return {
            **self.extra,
            "format": FORMAT,
            "hidden_layers": str(self.parameterization.hidden_layers),
            "width": str(self.width),
            "input_dim": str(self.input_dim),
            "output_dim": str(self.output_dim),
            "activation": self.activation,
            "bias": _BIASES[min(len(self.biases), 2)],
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
            extra: Further header entries; they may not take the names in `HEADER`.
            durable: See `ipcore.models.files.write_tensors`.

        Raises:
            ValueError: `extra` takes such a name.
            OSError: The file cannot be written.
        """
        taken = sorted({*HEADER, "sha256"} & set(extra or {}))
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
        keys = {FORMAT: HEADER, _FIRST_FORMAT: _FIRST_HEADER}.get(metadata.get("format", ""))
        if keys is None:
            raise WeightsError(f"format is {metadata.get('format')!r}; this version reads up to {FORMAT!r}")
        missing = [key for key in keys if key not in metadata]
        if missing:
            raise WeightsError(f"the header lacks {', '.join(missing)}")
        try:
            parameterization = _parameterization(metadata)
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
                    for layer in range(1, _biased(metadata["bias"], parameterization) + 1)
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
            )
        except KeyError as error:
            raise WeightsError(f"the file lacks the tensor {error}") from error
        except ValueError as error:
            raise WeightsError(f"the header is malformed: {error}") from error
        _check(network, metadata)
        return network


def _exponents(text: str, name: str) -> tuple[Any, ...]:
    return tuple(parse_exponent(entry, name) for entry in text.split(","))


def _biased(bias: str, parameterization: Parameterization) -> int:
    """Layers with a bias, counted from the first."""
    if bias not in _BIASES or (bias == "every") != (parameterization.biases is not None):
        raise ValueError(f"bias is {bias!r}, which does not fit the biases of the parameterization")
    return biased_layers(parameterization, bias)


def _parameterization(header: Mapping[str, str]) -> Parameterization:
    if header["format"] == FORMAT:
        data = json.loads(header["parameterization"])
        if not isinstance(data, dict):
            raise ValueError("parameterization is no JSON object")
        return Parameterization.from_dict(data)
    phases = []
    for phase in header["c"].split(";"):
        start, _, exponents = phase.partition(":")
        phases.append(RatePhase(int(start), _exponents(exponents, "c")))
    return Parameterization(_exponents(header["a"], "a"), _exponents(header["b"], "b"), tuple(phases))


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
    layers = len(network.weights)
    inputs, outputs = [d, *[m] * (layers - 1)], [*[m] * (layers - 1), classes]
    expected = {f"w{layer + 1}": f"{outputs[layer]}x{inputs[layer]}" for layer in range(layers)}
    expected |= {f"b{layer + 1}": outputs[layer] for layer in range(len(network.biases))}
    for name, tensor in network.arrays().items():
        found = "x".join(map(str, tensor.shape))
        if found != expected[name] or tensor.dtype != dtype:
            raise WeightsError(
                f"tensor {name} is {found} {tensor.dtype}; the header says {expected[name]} {header['dtype']}"
            )
