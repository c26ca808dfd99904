"""Headers of weight files: formats, keys and exponents.

Format "iplab-weights/2": safetensors with tensors ``w1`` .. ``wn``, each (outputs, inputs), and ``b1``,
(outputs,), ... for the layers that have a bias. They are the w^l of W^l = m^{-a_l} w^l, *not* multiplied by
m^{-a_l}, and likewise the biases. The header maps text to text: `HEADER` names its keys. "parameterization"
is the JSON text of `ipcore.theory.Parameterization.to_dict`: exact exponents ("-5/2"), with biases, mean and
re-weightings where there are any. The tensors include the effect of re-weighting on the initial weights. The
network is a multilayer perceptron: n = L+1.

"iplab-weights/3" holds a network of another model: "model" is the JSON text of `ipcore.models.model_to`.
"iplab-weights/1" is read too: it knows a bias in the first layer only and has exponents under "a", "b", "c".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ipcore.errors import WeightsError
from ipcore.models.scales import biased_layers
from ipcore.theory import Parameterization, RatePhase, parse_exponent

FORMAT: Final = "iplab-weights/2"
MODEL_FORMAT: Final = "iplab-weights/3"
HEADER: Final = (
    "format", "hidden_layers", "width", "input_dim", "output_dim", "activation", "bias", "loss", "dataset",
    "optimizer", "parameterization", "base_learning_rate", "seed", "step", "dtype",
)  # fmt: skip
MODEL_HEADER: Final = (*HEADER, "model")
_FIRST_FORMAT: Final = "iplab-weights/1"
_FIRST_HEADER: Final = (
    *(key for key in HEADER if key not in ("optimizer", "parameterization")),
    "a",
    "b",
    "c",
)
_HEADERS: Final = {MODEL_FORMAT: MODEL_HEADER, FORMAT: HEADER, _FIRST_FORMAT: _FIRST_HEADER}
# Layers with a bias, counted from the first, by the header's "bias".
BIASES: Final = ("none", "first", "every")


def keys_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of a header's format; it has all of them.

    Raises:
        WeightsError: The format is not known, or a key is missing.
    """
    keys = _HEADERS.get(metadata.get("format", ""))
    if keys is None:
        raise WeightsError(f"format is {metadata.get('format')!r}; this version reads up to {MODEL_FORMAT!r}")
    missing = [key for key in keys if key not in metadata]
    if missing:
        raise WeightsError(f"the header lacks {', '.join(missing)}")
    return keys


def _exponents(text: str, name: str) -> tuple[Any, ...]:
    return tuple(parse_exponent(entry, name) for entry in text.split(","))


def biased(bias: str, parameterization: Parameterization) -> int:
    """Number of layers with a bias, counted from the first, by the header's "bias".

    Raises:
        ValueError: It does not fit the parameterization.
    """
    if bias not in BIASES or (bias == "every") != (parameterization.biases is not None):
        raise ValueError(f"bias is {bias!r}, which does not fit the biases of the parameterization")
    return biased_layers(parameterization, bias)


def parameterization_of(header: Mapping[str, str]) -> Parameterization:
    """The exponents of a header that has all keys of its format.

    Raises:
        ValueError: They are malformed. (Also TypeError, AttributeError and KeyError.)
    """
    if header["format"] != _FIRST_FORMAT:
        data = json.loads(header["parameterization"])
        if not isinstance(data, dict):
            raise ValueError("parameterization is not a JSON object")
        return Parameterization.from_dict(data)
    phases = []
    for phase in header["c"].split(";"):
        start, _, exponents = phase.partition(":")
        phases.append(RatePhase(int(start), _exponents(exponents, "c")))
    return Parameterization(_exponents(header["a"], "a"), _exponents(header["b"], "b"), tuple(phases))
