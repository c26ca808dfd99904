"""Predictions of theory for the runs of a spec."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ipcore import theory
from ipcore.catalogue import OPTIMIZERS
from ipcore.models import Mlp, Model, ResidualMlp
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import parameterization
from ipserver.request.models import model_of, parameterization_depth

# Bound on the time that a submission waits for: a layer takes about a millisecond to analyse, more in deep
# networks.
MAX_PREDICTED_LAYERS = 100
MAX_ANALYSED_LAYERS = 2_000
_TOO_DEEP = f"not analysed: more than {MAX_PREDICTED_LAYERS} hidden layers (iplab analyze can)"
_TOO_MANY = "not analysed: this grid has too many different parameterizations and depths (iplab analyze can)"
_MAX_WARNINGS = 20
_WARNED = frozenset({theory.Regime.UNSTABLE, theory.Regime.CONTROLLED_DIVERGENCE, theory.Regime.TRIVIAL})
_Verdict = tuple[theory.Regime | None, str, str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one parameterization at one depth and activation.

    Attributes:
        parameterization: Label of the parameterization.
        hidden_layers: L.
        activation: Name of the activation.
        regime: The verdict; None: the theory does not cover it.
        summary: One sentence; without a verdict, why there is none.
        advice: What would change a trivial or diverging verdict, or "".
    """

    parameterization: str
    hidden_layers: int
    activation: str
    regime: theory.Regime | None
    summary: str
    advice: str


def predictions(spec: pb.ExperimentSpec) -> tuple[Prediction, ...]:
    """One prediction per parameterization, depth and activation, in the grid's order.

    Distinct networks are analysed until their layers add up to `MAX_ANALYSED_LAYERS`. The result is
    deterministic and cached.

    Args:
        spec: Valid, with its defaults filled in.
    """
    return _predict(_key(spec))


def not_covered(spec: pb.ExperimentSpec) -> str | None:
    """Why theory covers no network of a spec, whatever its parameterization; None if it may."""
    model = model_of(spec)
    if isinstance(model, Mlp | ResidualMlp):
        return None
    return f"the theory covers perceptrons with and without residual blocks, not {model.name!r}"


def block_matrices(model: Model) -> int:
    """Matrices per residual block of a model; 0 without blocks."""
    return model.block_matrices if isinstance(model, ResidualMlp) else 0


def normalization(model: Model) -> str:
    """Name of the normalization of a model's preactivations."""
    return model.normalization if isinstance(model, Mlp | ResidualMlp) else "none"


def predicted_regimes(spec: pb.ExperimentSpec) -> Mapping[tuple[str, int, str], theory.Regime | None]:
    """Regime by (label, hidden layers, activation)."""
    return _regimes(_key(spec))


def prediction_warnings(spec: pb.ExperimentSpec) -> Iterator[str]:
    """A sentence for each parameterization predicted to be trivial or diverging, with advice.

    First come sentences about parameterizations that theory does not cover, one per reason.
    """
    unsettled: dict[str, dict[str, None]] = {}  # activations in order, by reason
    for found in predictions(spec):
        if found.regime is None:
            unsettled.setdefault(found.summary, {})[found.activation] = None
    for reason, names in unsettled.items():
        yield f"{', '.join(names)}: trained without a prediction; {reason}"
    bad = sorted((found for found in predictions(spec) if found.regime in _WARNED), key=_what)
    groups = [(what, list(group)) for what, group in itertools.groupby(bad, key=_what)]
    for (label, hidden_layers, summary, advice), group in groups[:_MAX_WARNINGS]:
        activations = ", ".join(prediction.activation for prediction in group)
        text = f"{label}, {hidden_layers} hidden layers, {activations}: theory predicts {summary}"
        yield f"{text}. {advice[0].upper()}{advice[1:]}" if advice else text
    if (more := len(groups) - _MAX_WARNINGS) > 0:
        yield (
            f"theory predicts trivial, unstable or controlled divergence for {more} more; the experiment's "
            "predictions name them"
        )


def _what(prediction: Prediction) -> tuple[str, int, str, str]:
    return prediction.parameterization, prediction.hidden_layers, prediction.summary, prediction.advice


def _key(spec: pb.ExperimentSpec) -> bytes:
    """The parts of a spec that predictions depend on."""
    grid = spec.grid
    return pb.ExperimentSpec(
        loss=spec.loss,
        # The optimizer's settings change constants, not exponents. Predictions do not model weight decay.
        optimizer=pb.Optimizer(name=spec.optimizer.name),
        model=spec.model if spec.HasField("model") else None,
        grid=pb.Grid(
            parameterizations=grid.parameterizations,
            hidden_layers=grid.hidden_layers,
            activations=grid.activations,
        ),
    ).SerializeToString(deterministic=True)


@functools.lru_cache(maxsize=256)
def _predict(key: bytes) -> tuple[Prediction, ...]:
    spec = pb.ExperimentSpec.FromString(key)
    grid = spec.grid
    # Predictions do not depend on labels and calibration, so entries may share a verdict.
    schemes = [entry.preset or entry.exponents.SerializeToString() for entry in grid.parameterizations]
    verdicts: dict[tuple[str | bytes, int, str], _Verdict] = {}
    found = []
    layers = 0
    model = model_of(spec)
    residual = model if isinstance(model, ResidualMlp) else None
    for hidden_layers, activation, (scheme, entry) in itertools.product(
        grid.hidden_layers, grid.activations, zip(schemes, grid.parameterizations, strict=True)
    ):
        network = (scheme, hidden_layers, activation)
        depth = parameterization_depth(spec, hidden_layers)
        if (reason := not_covered(spec)) is not None:
            verdict: _Verdict = (None, f"not covered: {reason}", "")
        elif depth > MAX_PREDICTED_LAYERS:
            verdict = (None, _TOO_DEEP, "")
        elif network in verdicts:
            verdict = verdicts[network]
        elif layers + depth > MAX_ANALYSED_LAYERS:
            verdict = (None, _TOO_MANY, "")
        else:
            layers += depth
            value = parameterization(entry, depth, spec.optimizer.name)
            verdict = verdicts[network] = _verdict(
                value, spec.optimizer.name, activation, spec.loss, normalization(model), residual
            )
        found.append(Prediction(entry.label, hidden_layers, activation, *verdict))
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _regimes(key: bytes) -> Mapping[tuple[str, int, str], theory.Regime | None]:
    regimes = {(p.parameterization, p.hidden_layers, p.activation): p.regime for p in _predict(key)}
    return MappingProxyType(regimes)


@functools.lru_cache(maxsize=4096)
def _verdict(
    value: theory.Parameterization,
    optimizer: str,
    activation: str,
    loss: str,
    normalized: str,
    residual: ResidualMlp | None,
) -> _Verdict:
    """Regime, summary and advice. Cached, because specs share presets."""
    analyze = functools.partial(
        theory.analyze,
        value,
        optimizer=optimizer,
        activation=activation,
        loss=loss,
        block_matrices=0 if residual is None else residual.block_matrices,
        normalization=normalized,
    )
    try:
        found = analyze()
    except theory.TheoryError as error:
        return None, f"not covered: {error.text}", ""
    summary = found.summary
    if OPTIMIZERS[optimizer].has_epsilon and any(phase.d is not None for phase in value.phases):
        # At infinite width the exponents of epsilon decide. Its size relative to gradients at finite widths
        # is unknown before training, so both cases are summarized.
        small = analyze(epsilon="negligible")
        if small.regime is not found.regime:
            summary += f"; at widths where epsilon is small beside the gradients: {small.summary}"
    if residual is not None:
        depth = theory.depth_exponents(residual.alpha, optimizer, normalization=normalized)
        summary += f"; {depth.summary}"
    return found.regime, summary, found.advice
