"""Networks as data: named tensors with roles, and a forward pass over abstract operations.

A model says which tensors a network has and how they are combined. The operations are abstract: one forward
pass serves training, inference, differentiation, calibration and counting. Standard library only.
"""

from __future__ import annotations

from dataclasses import Field, dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from ipcore.catalogue import NORMALIZATIONS
from ipcore.catalogue.rules import OneOf

V = TypeVar("V")
# A setting that models share.
NormalizationSetting = Annotated[
    str,
    OneOf("normalization", NORMALIZATIONS),
    'with "rms" every preactivation is divided by its root mean square over the neurons before it enters the '
    "activation",
]


class Role(StrEnum):
    """The role of a tensor: parameterizations treat tensors of one role alike.

    INPUT maps inputs to m neurons, HIDDEN m neurons to m, READOUT m neurons to outputs. BIAS is added to the
    output of a matrix, GAIN multiplies neuron by neuron, EMBEDDING is a table with one row per input symbol.
    """

    INPUT = "input"
    HIDDEN = "hidden"
    READOUT = "readout"
    BIAS = "bias"
    GAIN = "gain"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Size:
    """Length of one axis of a tensor as a function of the width: constant + multiple m.

    >>> Size(multiple=4).at(16), Size(10).at(16)
    (64, 10)
    """

    constant: int = 0
    multiple: int = 0

    def at(self, width: int) -> int:
        """The length at width m >= 1."""
        return self.constant + self.multiple * width


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a network.

    Attributes:
        name: In weight files.
        role: Its role.
        layer: Number of the weight matrix that it is, or whose outputs it is added to; from 1. Exponents of
            parameterizations are listed by it.
        axes: (outputs, inputs) of a matrix, (outputs,) of a bias.
    """

    name: str
    role: Role
    layer: int
    axes: tuple[Size, ...]

    def shape(self, width: int) -> tuple[int, ...]:
        """The shape at a width.

        >>> TensorSpec("w1", Role.INPUT, 1, (Size(multiple=1), Size(784))).shape(64)
        (64, 784)
        """
        return tuple(axis.at(width) for axis in self.axes)


class Layers(Protocol[V]):
    """The operations of a plain chain of layers; V is the type of the values of all examples."""

    def linear(self, layer: int, x: V) -> V:
        """W^l x, plus the layer's bias if it has one."""

    def activate(self, layer: int, h: V) -> V:
        """x^l = phi(h^l). These calls also define the h^l and x^l that probes measure."""


class Operations(Layers[V], Protocol[V]):
    """All operations of forward passes."""

    def normalize(self, layer: int, h: V) -> V:
        """h^l divided by its root mean square over the neurons, example by example; 0 where h^l is 0."""

    def add(self, h: V, branch: V, scale: float) -> V:
        """The sum h + scale * branch, of equal shapes."""


@dataclass(frozen=True, slots=True)
class Normalizing(Generic[V]):
    """Operations whose activations act on normalized preactivations: x^l = phi(h^l / rms(h^l)).

    RMSNorm (Zhang & Sennrich, arXiv:1910.07467) where its authors put it, on the summed inputs of an
    activation, without trained gains. In residual networks that is the pre-norm of every block and of the
    readout.

    Attributes:
        plain: The operations themselves.
    """

    plain: Operations[V]

    def linear(self, layer: int, x: V) -> V:
        """As the plain one."""
        return self.plain.linear(layer, x)

    def activate(self, layer: int, h: V) -> V:
        """The activation of the normalized h^l."""
        return self.plain.activate(layer, self.plain.normalize(layer, h))

    def normalize(self, layer: int, h: V) -> V:
        """As the plain one."""
        return self.plain.normalize(layer, h)

    def add(self, h: V, branch: V, scale: float) -> V:
        """As the plain one."""
        return self.plain.add(h, branch, scale)


def normalized(normalization: str, ops: Operations[V]) -> Operations[V]:
    """The operations of a model with a setting of this name."""
    return ops if normalization == "none" else Normalizing(ops)


def normalization_problems(normalization: str) -> list[str]:
    """Problems of a model's setting `normalization`, a name in `ipcore.catalogue.NORMALIZATIONS`."""
    if isinstance(normalization, str) and normalization in NORMALIZATIONS:
        return []
    known = ", ".join(map(repr, NORMALIZATIONS))
    return [f"normalization: must be one of {known}, not {normalization!r}"]


class Model(Protocol):
    """A kind of network: a frozen dataclass whose fields are the model's settings.

    A setting's meaning and range are declared at the field (`ipcore.catalogue.settings`); `make proto` makes
    them fields of specs.

    Attributes:
        name: In specs and weight files.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    name: ClassVar[str]

    def problems(self) -> list[str]:
        """Problems of the settings: sentences that begin with the field's name; none if they are valid."""

    def layers(self, hidden_layers: int) -> int:
        """Number n of weight matrices of a network of this depth; a parameterization has n entries."""

    def tensors(
        self, hidden_layers: int, input_dim: int, output_dim: int, biases: int
    ) -> tuple[TensorSpec, ...]:
        """The matrices in the order of their layers, then the biases of the first `biases` layers."""

    def forward(self, hidden_layers: int, ops: Operations[V], x: V) -> V:
        """Outputs f of inputs x."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Networks of one model at one depth and width.

    Attributes:
        model: Their kind.
        hidden_layers: Depth L >= 1, as the model counts it.
        width: m >= 1.
        input_dim: Numbers per input, d.
        output_dim: Numbers per output, C.
    """

    model: Model
    hidden_layers: int
    width: int
    input_dim: int
    output_dim: int

    @property
    def layers(self) -> int:
        """Number n of weight matrices."""
        return self.model.layers(self.hidden_layers)

    def tensors(self, biases: int) -> tuple[TensorSpec, ...]:
        """All tensors, where the first `biases` layers have a bias."""
        return self.model.tensors(self.hidden_layers, self.input_dim, self.output_dim, biases)

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of every weight matrix, in the order of the layers."""
        shapes = [spec.shape(self.width) for spec in self.tensors(0)]
        return tuple((outputs, inputs) for outputs, inputs in shapes)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Role of every weight matrix, in the order of the layers."""
        return tuple(spec.role for spec in self.tensors(0))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Output dimension of each layer."""
        return tuple(outputs for outputs, _ in self.matrices)

    def forward(self, ops: Operations[V], x: V) -> V:
        """Outputs f of inputs x."""
        return self.model.forward(self.hidden_layers, ops, x)


def depth_of(model: Model, layers: int) -> int:
    """The depth at which a model has so many weight matrices.

    Raises:
        ValueError: There is none.
    """
    for hidden_layers in range(1, layers):
        if model.layers(hidden_layers) == layers:
            return hidden_layers
    raise ValueError(f"no network of {model.name!r} has {layers} weight matrices")


def chain(layers: int, input_dim: int, output_dim: int, biases: int) -> tuple[TensorSpec, ...]:
    """Tensors w1..wn and b1.. of n >= 2 layers, d -> m -> ... -> m -> C.

    >>> [(spec.name, spec.role.value, spec.shape(8)) for spec in chain(3, 5, 2, biases=1)]
    [('w1', 'input', (8, 5)), ('w2', 'hidden', (8, 8)), ('w3', 'readout', (2, 8)), ('b1', 'bias', (8,))]
    """
    m, d, C = Size(multiple=1), Size(input_dim), Size(output_dim)
    inner = [TensorSpec(f"w{layer}", Role.HIDDEN, layer, (m, m)) for layer in range(2, layers)]
    matrices = (
        TensorSpec("w1", Role.INPUT, 1, (m, d)),
        *inner,
        TensorSpec(f"w{layers}", Role.READOUT, layers, (C, m)),
    )
    offsets = [TensorSpec(f"b{w.layer}", Role.BIAS, w.layer, w.axes[:1]) for w in matrices[:biases]]
    return (*matrices, *offsets)
