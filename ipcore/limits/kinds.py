"""The limit of a network as its width grows, or why none is computed here. Standard library only."""

from __future__ import annotations

from ipcore.catalogue import OPTIMIZERS, find_activation
from ipcore.config import PackConfig, RunConfig
from ipcore.limits.exponents import by_exponents
from ipcore.limits.limit import DEFERRED, Limit, NoLimit
from ipcore.models import MLP, Model
from ipcore.theory import Parameterization


def limit_of(
    parameterization: Parameterization,
    activation: str,
    optimizer: str = "sgd",
    *,
    calibrated: bool = False,
    weight_decay: float = 0.0,
    model: Model = MLP,
) -> Limit | NoLimit:
    """The limit that a run has at m = infinity, or why none is computed.

    It does not depend on the loss and the schedule.

    Args:
        parameterization: Exponents.
        activation: Name in the catalogue.
        optimizer: Name in `ipcore.catalogue.OPTIMIZERS`.
        calibrated: Whether first rates are calibrated.
        weight_decay: lambda.
        model: What kind of network; only a multilayer perceptron has a limit here.

    Raises:
        ConfigError: Unknown activation.

    >>> from ipcore.theory import preset
    >>> limit_of(preset("hpz", 3), "tanh").kind
    'particles'
    >>> limit_of(preset("mup", 3), "relu").reason
    'initial_weights'
    """
    phi = find_activation(activation)
    if uncovered := _uncovered(parameterization, optimizer, model):
        return uncovered
    return by_exponents(parameterization, phi, calibrated=calibrated, weight_decay=weight_decay)


def limit_of_run(config: PackConfig, run: RunConfig) -> Limit | NoLimit:
    """The limit of a run of a pack, or why none is computed."""
    return limit_of(
        run.parameterization,
        config.activation,
        config.optimizer,
        calibrated=run.calibration is not None,
        weight_decay=run.settings.weight_decay,
        model=config.model,
    )


def _uncovered(p: Parameterization, optimizer: str, model: Model) -> NoLimit | None:
    """Settings that no algorithm here covers, whatever the exponents are."""
    if model != MLP:
        return NoLimit("model", f"of {model.name} no limit is computed, only of the multilayer perceptron")
    if OPTIMIZERS[optimizer].entrywise:
        return NoLimit(
            "optimizer",
            f"with {optimizer} no limit is computed: its updates are not sums of products of two vectors, "
            "which the algorithms here need; use sgd or momentum",
        )
    if p.biases is not None or p.mean is not None:
        what = "initial weights with a mean" if p.biases is None else "biases with exponents of their own"
        return NoLimit("unknown", f"with {what} no limit is computed: {DEFERRED}", wider=True)
    return None
