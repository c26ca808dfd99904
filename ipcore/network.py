"""One trained (or untrained) network: what weight files hold and what is evaluated.

Format "iplab-weights/1": safetensors with tensors ``w1`` .. ``w{L+1}``, each (outputs, inputs), and ``b1``
(m,) if the first layer has a bias. They are the w^l of W^l = m^{-a_l} w^l, *not* multiplied by m^{-a_l}.
The header maps text to text: `HEADER` names its keys; exponents are exact ("-5/2"), comma separated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ipcore.activations import ACTIVATIONS
from ipcore.errors import WeightsError
from ipcore.files import read_tensors, write_tensors
from ipcore.scales import multipliers
from ipcore.theory import Parameterization, RatePhase, TheoryError, format_exponent, parse_exponent

FORMAT: Final = "iplab-weights/1"
HEADER: Final = (
    "format", "hidden_layers", "width", "input_dim", "output_dim", "activation", "bias", "loss", "dataset",
    "a", "b", "c", "base_learning_rate", "seed", "step", "dtype",
)  # fmt: skip
_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A multilayer perceptron with its parameterization.

    Attributes:
        weights: w^1..w^{L+1}, each (outputs, inputs), on the CPU.
        bias: Bias of the first layer, (m,), or None; multiplied by m^{-a_1} like the first weights.
        parameterization: Exponents.
        activation: Name of phi.
        loss: Name of the loss it is trained with.
        dataset: Name of the dataset it is trained on.
        base_learning_rate: eta.
        seed: Seed of its normals and batches.
        step: Updates done.
        extra: Further header entries (label, experiment, run).
    """

    weights: tuple[Tensor, ...]
    bias: Tensor | None
    parameterization: Parameterization
    activation: str
    loss: str
    dataset: str
    base_learning_rate: float
    seed: int
    step: int
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
        """Logits C."""
        return int(self.weights[-1].shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weights[0].dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits f(x).

        Args:
            inputs: (n, d), of the network's dtype.

        Returns:
            (n, C).
        """
        x = inputs
        scales = multipliers(self.parameterization, self.width)
        for layer, (weight, scale) in enumerate(zip(self.weights, scales, strict=True), start=1):
            h = x @ (weight * scale).mT
            if layer == 1 and self.bias is not None:
                h += self.bias * scale
            x = h if layer == len(self.weights) else ACTIVATIONS[self.activation].apply(h)
        return x

    def header(self) -> dict[str, str]:
        """The header of this network's file, without its digest."""
        p = self.parameterization
        return {
            **self.extra,
            "format": FORMAT,
            "hidden_layers": str(p.hidden_layers),
            "width": str(self.width),
            "input_dim": str(self.input_dim),
            "output_dim": str(self.output_dim),
            "activation": self.activation,
            "bias": "none" if self.bias is None else "first",
            "loss": self.loss,
            "dataset": self.dataset,
            "a": ",".join(map(format_exponent, p.a)),
            "b": ",".join(map(format_exponent, p.b)),
            # "0:-5/2,-3,-5/2;1:-1,-2,-1": first step of each phase, then its exponents.
            "c": ";".join(f"{phase.start}:{','.join(map(format_exponent, phase.c))}" for phase in p.phases),
            "base_learning_rate": repr(self.base_learning_rate),
            "seed": str(self.seed),
            "step": str(self.step),
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def arrays(self) -> dict[str, Tensor]:
        """Tensors by their names in files."""
        tensors = {f"w{layer}": weight for layer, weight in enumerate(self.weights, start=1)}
        return tensors if self.bias is None else {**tensors, "b1": self.bias}

    def save(self, path: str | Path, extra: Mapping[str, str] | None = None) -> None:
        """Write the network to a file (whole or not at all).

        Args:
            path: File to write; its folder must exist.
            extra: Further header entries; they may not take the names in `HEADER`.

        Raises:
            ValueError: `extra` takes such a name.
            OSError: The file cannot be written.
        """
        taken = sorted({*HEADER, "sha256"} & set(extra or {}))
        if taken:
            raise ValueError(f"extra header entries may not be called {', '.join(taken)}")
        write_tensors(path, self.arrays(), {**self.header(), **(extra or {})})

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
        if metadata.get("format") != FORMAT:
            raise WeightsError(f"format is {metadata.get('format')!r}; this version reads {FORMAT!r}")
        missing = [key for key in HEADER if key not in metadata]
        if missing:
            raise WeightsError(f"the header lacks {', '.join(missing)}")
        try:
            parameterization = _parameterization(metadata)
            network = cls(
                weights=tuple(
                    torch.as_tensor(arrays[f"w{layer}"])
                    for layer in range(1, parameterization.hidden_layers + 2)
                ),
                bias=torch.as_tensor(arrays["b1"]) if metadata["bias"] == "first" else None,
                parameterization=parameterization,
                activation=metadata["activation"],
                loss=metadata["loss"],
                dataset=metadata["dataset"],
                base_learning_rate=float(metadata["base_learning_rate"]),
                seed=int(metadata["seed"]),
                step=int(metadata["step"]),
                extra={k: v for k, v in metadata.items() if k not in HEADER and k != "sha256"},
            )
        except KeyError as error:
            raise WeightsError(f"the file lacks the tensor {error}") from error
        except (TheoryError, ValueError) as error:
            raise WeightsError(f"the header is malformed: {error}") from error
        _check(network, metadata)
        return network


def _exponents(text: str, name: str) -> tuple[Any, ...]:
    return tuple(parse_exponent(entry, name) for entry in text.split(","))


def _parameterization(header: Mapping[str, str]) -> Parameterization:
    phases = []
    for phase in header["c"].split(";"):
        start, _, exponents = phase.partition(":")
        phases.append(RatePhase(int(start), _exponents(exponents, "c")))
    return Parameterization(_exponents(header["a"], "a"), _exponents(header["b"], "b"), tuple(phases))


def _check(network: Network, header: Mapping[str, str]) -> None:
    """The tensors must have the sizes that the header states."""
    if network.activation not in ACTIVATIONS:
        raise WeightsError(f"unknown activation {network.activation!r}; there are {', '.join(ACTIVATIONS)}")
    dtype = _DTYPES.get(header["dtype"])
    d, m, classes = header["input_dim"], header["width"], header["output_dim"]
    layers = len(network.weights)
    inputs, outputs = [d, *[m] * (layers - 1)], [*[m] * (layers - 1), classes]
    expected = {f"w{layer + 1}": f"{outputs[layer]}x{inputs[layer]}" for layer in range(layers)}
    if network.bias is not None:
        expected["b1"] = m
    for name, tensor in network.arrays().items():
        found = "x".join(map(str, tensor.shape))
        if found != expected[name] or tensor.dtype != dtype:
            raise WeightsError(
                f"tensor {name} is {found} {tensor.dtype}; the header says {expected[name]} {header['dtype']}"
            )
