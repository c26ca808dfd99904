"""What theory predicts for the runs of a spec, before anything trains."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ipcore import theory
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.convert import parameterization

# Deeper networks take seconds to analyse: too long while somebody waits for a submission.
MAX_PREDICTED_LAYERS = 100
_WARNED = frozenset({theory.Regime.UNSTABLE, theory.Regime.TRIVIAL})


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one parameterization at one depth and activation.

    Attributes:
        parameterization: Its label.
        hidden_layers: L.
        activation: Name.
        regime: The verdict; None: the theory does not cover it.
        summary: One sentence; why there is no verdict, if there is none.
        advice: What would change a trivial or unstable verdict, or "".
    """

    parameterization: str
    hidden_layers: int
    activation: str
    regime: theory.Regime | None
    summary: str
    advice: str


def predictions(spec: pb.ExperimentSpec) -> tuple[Prediction, ...]:
    """One prediction per parameterization, depth and activation, in the grid's order.

    Args:
        spec: Valid, with its defaults filled in.
    """
    grid = spec.grid
    return tuple(
        Prediction(
            entry.label,
            hidden_layers,
            activation,
            *_verdict(parameterization(entry, hidden_layers), spec.optimizer.name, activation, spec.loss),
        )
        for hidden_layers, activation, entry in itertools.product(
            grid.hidden_layers, grid.activations, grid.parameterizations
        )
    )


def predicted_regimes(spec: pb.ExperimentSpec) -> dict[tuple[str, int, str], theory.Regime | None]:
    """Regime by (label, hidden layers, activation)."""
    return {(p.parameterization, p.hidden_layers, p.activation): p.regime for p in predictions(spec)}


def prediction_warnings(spec: pb.ExperimentSpec) -> Iterator[str]:
    """A sentence for each parameterization called trivial or unstable, and what would change it."""
    bad = sorted((found for found in predictions(spec) if found.regime in _WARNED), key=_what)
    for (label, hidden_layers, summary, advice), group in itertools.groupby(bad, key=_what):
        activations = ", ".join(prediction.activation for prediction in group)
        text = f"{label}, {hidden_layers} hidden layers, {activations}: theory predicts {summary}"
        yield f"{text}. {advice[0].upper()}{advice[1:]}" if advice else text


def _what(prediction: Prediction) -> tuple[str, int, str, str]:
    return prediction.parameterization, prediction.hidden_layers, prediction.summary, prediction.advice


@functools.lru_cache(maxsize=4096)
def _verdict(
    value: theory.Parameterization, optimizer: str, activation: str, loss: str
) -> tuple[theory.Regime | None, str, str]:
    """Regime, summary and advice; the same parameterizations come back with every listing."""
    if value.hidden_layers > MAX_PREDICTED_LAYERS:
        return None, f"not analysed: more than {MAX_PREDICTED_LAYERS} hidden layers (iplab analyze can)", ""
    try:
        found = theory.analyze(value, optimizer=optimizer, activation=activation, loss=loss)
    except theory.TheoryError as error:
        return None, f"not covered: {error}", ""
    return found.regime, found.summary, found.advice
