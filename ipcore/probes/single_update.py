"""One update of every layer from step 0, each as if it were the only one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.optimizers import make_optimizer
from ipcore.engine.rates import StepRates
from ipcore.models.scales import biased_layers
from ipcore.probes.state import look
from ipcore.theory import Parameterization


@dataclass(frozen=True, eq=False, slots=True)
class Newest:
    """The update that led to the present state.

    Attributes:
        step: State that it led to, >= 1; its batch is the one that the pack holds.
        rates: Its rates.
    """

    step: int
    rates: StepRates


@dataclass(frozen=True, eq=False, slots=True)
class IsolatedUpdate:
    """One update of one layer.

    Attributes:
        matrix: Delta W^l, (K, outputs, inputs).
        bias: Delta b^l, (K, 1, outputs), NaN for runs without this bias; None if no run has it.
        below: Input of W_0^l on the fixed examples, (K, n, inputs).
    """

    matrix: Tensor
    bias: Tensor | None
    below: Tensor


def isolated_updates(
    config: PackConfig,
    pack: Engine,
    members: Sequence[RunConfig],
    runs: slice,
    initial: Sequence[Tensor],
    newest: Newest,
    inputs: Tensor,
) -> Mapping[int, IsolatedUpdate]:
    """Updates of the weights of step 0 by the newest update's batch and rates, by layer.

    All layers are updated from the same gradients, so each is updated as if it were alone. The weights are
    set to 0 before the updates are added to them, so nothing of small updates is lost by rounding.

    Args:
        config: Configuration of the pack.
        pack: Networks with the batch of that update; only read.
        members: The runs that are measured.
        runs: Their places in the pack.
        initial: W_0^l of these runs by layer, then their b_0^l.
        newest: The update.
        inputs: The fixed examples, (n, d).
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
    ):  # autograd differentiates through the tensors allocated here
        shape = replace(pack.shape, runs=len(members))
        engine = type(pack)(shape, config.activation, config.loss, pack.dtype, pack.device, pack.compute)
        trained = [*engine.weights, *engine.biases]
        for tensor, start in zip(trained, initial, strict=True):
            tensor.copy_(start)
        below = look(engine, slice(None), inputs).below
        engine.inputs.copy_(pack.inputs[runs])
        engine.labels.copy_(pack.labels[runs])
        found: dict[int, tuple[Tensor, Tensor]] = {}
        engine.step(lambda layer, dz, x: found.update({layer: (dz.clone(), x.clone())}))
        for tensor in trained:
            tensor.zero_()
        alone = [
            replace(run, parameterization=from_step(run.parameterization, newest.step - 1)) for run in members
        ]
        optimizer = make_optimizer(config, alone, engine)
        optimizer.begin(0, _of(newest.rates, runs))
        for layer, (dz, x) in found.items():
            optimizer.update(layer, dz, x)
        counts = [biased_layers(run.parameterization, config.bias) for run in members]
        for layer, bias in enumerate(engine.biases, start=1):
            bias[[count < layer for count in counts]] = torch.nan
        biases = [*engine.biases, *[None] * (shape.layers - len(engine.biases))]
        return {
            layer: IsolatedUpdate(matrix, bias, below[layer])
            for layer, (matrix, bias) in enumerate(zip(engine.weights, biases, strict=True), start=1)
        }


def from_step(p: Parameterization, step: int) -> Parameterization:
    """The parameterization whose first update has the rates and epsilons of that after `step` updates."""
    biases = p.biases
    if biases is not None:
        biases = replace(biases, phases=(replace(biases.phase_at(step), start=0),))
    return replace(p, phases=(replace(p.phase_at(step), start=0),), biases=biases)


def _of(rates: StepRates, runs: slice) -> StepRates:
    """The rates of some runs, without decay."""
    own = None if rates.biases is None else [rate[runs] for rate in rates.biases]
    return StepRates([rate[runs] for rate in rates.weights], own, None)
