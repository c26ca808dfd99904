"""Twelve mistakes of implementations, injected into right parameterizations of a tanh network, L = 3.

Most are a wrong exponent, so the wrong network is a parameterization too. A backward pass with a multiplier
of its own, and weight decay that is added to the gradient, are engines that make these mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import torch
from torch import Tensor

from ipcore.engine.engine import Engine, Update
from ipcore.engine.pack import Pack
from ipcore.theory import Biases, Parameterization, RatePhase, preset

DEPTH: Final = 3
ACTIVATION: Final = "tanh"
_HALF: Final = Fraction(1, 2)
_DECAY: Final = 0.05


class LoudBackward(Pack):
    """The readout has multiplier m^{-a}, but hands its derivative down with m^{-(a - 1/2)}."""

    def step(self, update: Update) -> None:
        """As `Engine.step`."""
        factor = self.shape.architecture.width**0.5

        def wrong(layer: int, dz: Tensor, x: Tensor) -> None:
            update(layer, dz if layer == self.shape.layers else dz * factor, x)

        super().step(wrong)


class CoupledDecay(Pack):
    """Weight decay is part of the gradient: dL/dW + lambda W."""

    def step(self, update: Update) -> None:
        """As `Engine.step`."""

        def wrong(layer: int, dz: Tensor, x: Tensor) -> None:
            weight = self.weights[layer - 1]
            unit = torch.eye(weight.shape[1], dtype=dz.dtype, device=dz.device).expand(len(dz), -1, -1)
            # Rows whose products add lambda W to the mean gradient, and nothing to that of a bias.
            half = unit * (_DECAY * self.shape.batch_size / 2)
            update(layer, torch.cat([dz, half, -half], dim=1), torch.cat([x, weight, -weight], dim=1))

        super().step(wrong)


@dataclass(frozen=True, slots=True)
class Case:
    """Networks that are trained, and what they are meant to be.

    Attributes:
        name: Name of the table.
        intended: What theory is asked about.
        trained: What is trained in its place.
        cell: Quantity, layer and step of the first size that is wrong; None: nothing is.
        optimizer: Name.
        epsilon: Adam's epsilon.
        engine: What trains.
        rate: Base learning rate.
    """

    name: str
    intended: Parameterization
    trained: Parameterization
    cell: tuple[str, int, int] | None = None
    optimizer: str = "sgd"
    epsilon: float = 1e-8
    engine: type[Engine] = Pack
    rate: float = 0.3

    @property
    def steps(self) -> int:
        """Updates that tell all: one for each phase of the rates."""
        return len(self.intended.phases)


def _biases(c: Sequence[Fraction]) -> Biases:
    """Biases in every layer that start at next to nothing, so that they hide no wrong matrix at step 0."""
    zeros = (Fraction(0),) * (DEPTH + 1)
    return Biases(a=zeros, b=(Fraction(4),) * (DEPTH + 1), phases=(RatePhase(0, tuple(c)),))


def _mup() -> Parameterization:
    one = Fraction(1)
    return Parameterization(
        a=(Fraction(0), Fraction(0), Fraction(0), _HALF),
        b=(Fraction(0), _HALF, _HALF, _HALF),
        phases=(RatePhase(0, (-one, Fraction(0), Fraction(0), Fraction(0))),),
        biases=_biases((-one, -one, -one, Fraction(0))),
    )


def _mup_adam() -> Parameterization:
    one = Fraction(1)
    rates = RatePhase(0, (Fraction(0), one, one, _HALF), (one, one, one, _HALF))
    return replace(_mup(), phases=(rates,), biases=None)


def _shifted(row: Sequence[Fraction], layers: Sequence[int], by: Fraction) -> tuple[Fraction, ...]:
    return tuple(entry + by if i + 1 in layers else entry for i, entry in enumerate(row))


def _rate(p: Parameterization, layers: Sequence[int], by: int | Fraction) -> Parameterization:
    (phase,) = p.phases
    return replace(p, phases=(replace(phase, c=_shifted(phase.c, layers, Fraction(by))),))


def _bias_rate(p: Parameterization) -> Parameterization:
    if p.biases is None:
        raise ValueError("there are no biases")
    (phase,) = p.biases.phases
    slower = replace(phase, c=tuple(c + 1 for c in phase.c))
    return replace(p, biases=replace(p.biases, phases=(slower,)))


def cases() -> tuple[Case, ...]:
    """The right parameterizations, then the mistakes in the order of the table."""
    mup, adam, llr = _mup(), _mup_adam(), preset("ip-llr", DEPTH)
    slow = (replace(adam.phases[0], d=(Fraction(0),) * (DEPTH + 1)),)
    matrix, bias = "isolated_change", "isolated_bias_change"
    return (
        Case("muP", mup, mup),
        Case("muP, Adam", adam, adam, optimizer="adam", rate=0.01),
        Case("IP-LLR", llr, llr),
        Case("1: a_2 + 1/2", mup, replace(mup, a=_shifted(mup.a, [2], _HALF)), ("h", 2, 0)),
        Case("2: b_2 - 1/2", mup, replace(mup, b=_shifted(mup.b, [2], -_HALF)), ("h", 2, 0)),
        Case("3: b_4 - 1/2", mup, replace(mup, b=_shifted(mup.b, [4], -_HALF)), ("h", 4, 0)),
        Case("4: c_4 - 1", mup, _rate(mup, [4], -1), (matrix, 4, 1)),
        Case("5: c_1 + 1", mup, _rate(mup, [1], 1), (matrix, 1, 1)),
        Case("6: c_2 + 1", mup, _rate(mup, [2], 1), (matrix, 2, 1)),
        Case("7: biases, c + 1", mup, _bias_rate(mup), (bias, 1, 1)),
        Case("8: a_4 - 1/2 in the backward pass", mup, mup, (matrix, 1, 1), engine=LoudBackward),
        Case("9: decay 0.05 inside the gradient", mup, mup, (matrix, 1, 1), engine=CoupledDecay),
        Case(
            "10: Adam, epsilon 0.01 with d = 0",
            adam,
            replace(adam, phases=slow),
            (matrix, 1, 1),
            "adam",
            0.01,
            rate=0.01,
        ),
        Case(
            "11: Adam, c_2 and c_3 - 1/2",
            adam,
            _rate(adam, [2, 3], -_HALF),
            (matrix, 2, 1),
            "adam",
            rate=0.01,
        ),
        Case(
            "12: IP-LLR, c(1) = c(0)",
            llr,
            replace(llr, phases=(llr.phases[0],)),
            (matrix, 1, 2),
        ),
    )
