"""Multilayer perceptrons on digits in numpy, one update at a time, with bugs to find.

Written apart from the engine, so that a coordinate check of it is a check of theory against an implementation
that shares no code with it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore import theory
from ipcore.studies import ISOLATED, ISOLATED_BIAS, Metric, Outcome, Run
from reproduction.data import load
from reproduction.study_worlds import cost

Floats = npt.NDArray[np.float32]

_BATCH: Final = 32
_RATE: Final = 0.1


@dataclass(frozen=True, slots=True)
class NetworkWorld:
    """Networks with tanh as they are trained, mistakes included.

    Attributes:
        key: Key of the random numbers.
        exponents: What is trained.
        optimizer: "sgd" or "adam".
        epsilon: Adam's epsilon, the same at all widths (d = 0).
        decay: Added to the gradient, times w: decay inside the gradient.
        backward: Powers of m by which W^l is larger in the backward pass alone, by layer.
    """

    key: int
    exponents: theory.Parameterization
    optimizer: str = "sgd"
    epsilon: float = 0.0
    decay: float = 0.0
    backward: Mapping[int, float] | None = None

    def __call__(self, run: Run, metrics: Iterable[Metric]) -> Outcome:
        """Initialize a network, and measure sizes and isolated updates."""
        network = _Network(self, run.width, run.seed)
        values = {metric: network.measure(metric) for metric in metrics}
        return Outcome(values, core_seconds=cost(run.width))


class _Network:
    """One network at step 0: weights, sizes at the inputs of the probe, gradients of a batch."""

    def __init__(self, world: NetworkWorld, width: int, seed: int) -> None:
        p = world.exponents
        self.world, self.m, self.layers = world, float(width), len(p.a)
        draw = np.random.default_rng([world.key, width, seed])
        images, labels = _digits()
        chosen = draw.permutation(len(images))[: 2 * _BATCH]
        self.batch, self.labels, self.probe = chosen[:_BATCH], labels[chosen[:_BATCH]], chosen[_BATCH:]
        sizes = [images.shape[1], *[width] * p.hidden_layers, 10]
        scales = [images.shape[1] ** -0.5, *[1.0] * p.hidden_layers]
        self.w = [
            scale * self._power(-b) * draw.standard_normal((n, k), np.float32)
            for b, n, k, scale in zip(p.b, sizes[1:], sizes[:-1], scales, strict=True)
        ]
        own = p.biases
        self.beta = [
            np.zeros(n, np.float32) if own is None else self._power(-own.b[i]) * draw.standard_normal(n)
            for i, n in enumerate(sizes[1:])
        ]
        self.h_probe, self.x_probe = self._forward(images[self.probe])
        h_batch, self.x_batch = self._forward(images[self.batch])
        self.dh = self._backward(h_batch[-1])

    def measure(self, metric: Metric) -> float:
        """Mean |h^l|, or mean |dh^l| of an isolated update by the rates of a step."""
        i = metric.layer - 1
        if metric.quantity == "h":
            return float(np.abs(self.h_probe[i]).mean())
        p, x = self.world.exponents, self.x_probe[i]
        if metric.quantity == ISOLATED:
            gradient = (self.dh[i] / _BATCH).T @ self.x_batch[i]
            update = self._update(gradient, self.w[i], p.a[i], p.phase_at(metric.step).c[i])
            return float(np.abs(x @ update.T).mean())
        if metric.quantity != ISOLATED_BIAS or p.biases is None:
            raise ValueError(f"not measured here: {metric}")
        c = p.biases.phase_at(metric.step).c[i]
        update = self._update(self.dh[i].mean(axis=0), self.beta[i], p.biases.a[i], c)
        return float(np.abs(update).mean())

    def _update(self, gradient: Floats, w: Floats, a: Fraction, c: Fraction) -> Floats:
        """Of W = m^{-a} w."""
        g = self._power(-a) * gradient
        if self.world.decay:
            g = g + self.world.decay * w
        if self.world.optimizer == "adam":
            g = g / (np.abs(g) + self.world.epsilon + np.finfo(np.float32).tiny)
        return np.asarray(-_RATE * self._power(-a - c) * g, np.float32)

    def _forward(self, x: Floats) -> tuple[list[Floats], list[Floats]]:
        """Preactivations of all layers, and the input of each."""
        p, own = self.world.exponents, self.world.exponents.biases
        sizes, inputs = [], [x]
        for i, w in enumerate(self.w):
            h = self._power(-p.a[i]) * (inputs[-1] @ w.T)
            if own is not None:
                h = h + self._power(-own.a[i]) * self.beta[i]
            sizes.append(h)
            inputs.append(np.tanh(h))
        return sizes, inputs

    def _backward(self, f: Floats) -> list[Floats]:
        """Derivatives of each example's loss by the preactivations, cross entropy; f are the outputs."""
        p, wrong = self.world.exponents, self.world.backward or {}
        f = f - f.max(axis=1, keepdims=True)
        dh = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
        dh[np.arange(_BATCH), self.labels] -= 1
        found = [dh]
        for i in range(self.layers - 1, 0, -1):
            scale = self._power(-p.a[i]) * self.m ** wrong.get(i + 1, 0.0)
            dx = scale * (found[0] @ self.w[i])
            found.insert(0, dx * (1 - self.x_batch[i] ** 2))  # tanh' = 1 - tanh^2
        return found

    def _power(self, exponent: Fraction) -> np.float32:
        return np.float32(self.m ** float(exponent))


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[Floats, npt.NDArray[np.int64]]:
    train = load("digits").train
    inputs = np.asarray(train.inputs, np.float32).reshape(len(train.inputs), -1)
    return inputs, np.asarray(train.labels, np.int64)
