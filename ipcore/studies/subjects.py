"""Subjects of a study, their training, and the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore import theory
from ipcore.catalogue.widths import INFINITE_WIDTH

UNLIMITED: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Subject:
    """A parameterization with an activation and a depth, to which one answer belongs.

    Attributes:
        label: Name of the parameterization, as in the spec.
        exponents: Its exponents at this depth; theory is applied to them.
        activation: Name in the catalogue.
        rate: Base learning rate; for rate transfer the first guess.
        trained: Exponents that are trained, if they differ from the intended ones (a coordinate check of an
            implementation against `exponents`). None: the same.
        calibrated: Whether the first rates are calibrated.

    >>> str(Subject("ip-llr", theory.preset("ip-llr", 3), "relu", 0.1))
    'ip-llr (relu, 3 hidden layers)'
    """

    label: str
    exponents: theory.Parameterization
    activation: str
    rate: float
    trained: theory.Parameterization | None = None
    calibrated: bool = False

    @property
    def hidden_layers(self) -> int:
        """L."""
        return self.exponents.hidden_layers

    @property
    def layers(self) -> int:
        """Weight matrices; the last layer is the output f."""
        return len(self.exponents.a)

    def __str__(self) -> str:
        layers = "1 hidden layer" if self.hidden_layers == 1 else f"{self.hidden_layers} hidden layers"
        return f"{self.label} ({self.activation}, {layers})"


@dataclass(frozen=True, slots=True)
class Setting:
    """How all subjects are trained, as far as theory and costs depend on it.

    Attributes:
        optimizer: Name in the catalogue. Its epsilon is taken as negligible.
        loss: Name in the catalogue.
        steps: Updates of a whole run.
        not_covered: Why theory does not cover such networks ("" : it may): weight decay, a model, data.
        block_matrices: Matrices per residual block; 0: a perceptron.
        normalization: Normalization of preactivations, by its name in the catalogue.
    """

    optimizer: str = "sgd"
    loss: str = "cross_entropy"
    steps: int = 100
    not_covered: str = ""
    block_matrices: int = 0
    normalization: str = "none"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a study. It stops before a round that would exceed one of them.

    Attributes:
        runs: Number of runs > 0; never exceeded.
        core_hours: > 0. Measured for runs that have ended, estimated for those of the next round.
        wall_seconds: > 0, from the study's start. Runs are asked for if the time that has passed and their
            estimated duration fit into it: all cores of the question work on them, and on nothing else.
    """

    runs: int | None = None
    core_hours: float | None = None
    wall_seconds: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.runs is not None:
            parts.append(f"{self.runs} runs")
        if self.core_hours is not None:
            parts.append(f"{self.core_hours:.3g} core-hours")
        if self.wall_seconds is not None:
            parts.append(f"{self.wall_seconds:g} s of wall time")
        return " and ".join(parts) or "no limit"


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cost of a run before any was measured: proportional to the square of the width.

    Measured costs replace it.

    Attributes:
        core_seconds: Core-seconds of one run of all updates at `width`.
        width: m.
        limit: Core-seconds of one run at infinite width.
        deferred: Pairs (m, core-seconds) of one run with deferred weights; at other widths as of dense ones.
    """

    core_seconds: float
    width: int = 1024
    limit: float = 0.0
    deferred: tuple[tuple[int, float], ...] = ()

    def at(self, width: int, *, deferred: bool = False) -> float:
        """Core-seconds of a whole run at another width.

        >>> RunCost(4.0).at(512), RunCost(4.0, deferred=((8192, 9.0),)).at(8192, deferred=True)
        (1.0, 9.0)
        """
        if deferred and (known := dict(self.deferred).get(width)) is not None:
            return known
        if width == INFINITE_WIDTH:
            return self.limit
        return self.core_seconds * (width / self.width) ** 2
