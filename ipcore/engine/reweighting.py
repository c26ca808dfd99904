"""Re-weighting of initial weights after some update: HP, HPZ.

The part of a matrix that comes from its initial weights w_0 is not kept apart. To remove it, that part is
subtracted as training has left it, with the same rounding: w_0 in the pack's number format, multiplied at
each update by the factor of weight decay, and re-weighted as before. Rows that have learned nothing (of dead
units) are exactly 0 afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.decay import run_decay
from ipcore.engine.engine import Engine
from ipcore.engine.initialization import Matrix, initial_weights
from ipcore.models.scales import remainders


def reweighting_steps(runs: Sequence[RunConfig]) -> frozenset[int]:
    """States at which initial weights of some run are re-weighted."""
    return frozenset(r.start for run in runs for r in run.parameterization.reweightings)


def reweight(
    pack: Engine, config: PackConfig, runs: Sequence[RunConfig], positions: Iterable[int], step: int
) -> None:
    """Re-weight at a state of `reweighting_steps`: W += m^{-a} (rho' - rho) q w_0.

    rho = m^{-k_l(step)} is 0 where removed; q w_0 is what weight decay has left of w_0. w_0 is drawn again
    from the seed, not kept.

    Args:
        pack: Weights as the update before left them.
        config: Configuration of the pack.
        runs: All runs.
        positions: Runs that are still trained.
        step: The state, in updates done.
    """
    histories = {p: _History(config, runs[p], step, pack.dtype) for p in positions}
    affected = [p for p, history in histories.items() if any(history.changed(i) for i in _layers(pack))]
    layers = [i for i in _layers(pack) if any(histories[p].changed(i) for p in affected)]
    for position, layer, initial in initial_weights(pack, config, runs, affected, layers):
        history = histories[position]
        if history.changed(layer):
            history.apply(pack.weights[layer][position], initial, layer)


class _History:
    """The factors of a run's initial weights up to a state.

    Args:
        config: Configuration of the pack.
        run: The run.
        step: The state, in updates done.
        dtype: Number format of the pack.
    """

    def __init__(self, config: PackConfig, run: RunConfig, step: int, dtype: torch.dtype) -> None:
        p = run.parameterization
        self._step = step
        self._kept = list(run_decay(config, run, step, torch.finfo(dtype).eps))
        states = sorted({step, *(r.start for r in p.reweightings if r.start <= step)})
        self._counts = {s: [remainders(p, config.width, t) for t in (s - 1, s)] for s in states}

    def changed(self, layer: int) -> bool:
        """Whether a layer (from 0) counts differently from the state on."""
        before, now = self._counts[self._step]
        return before[layer] != now[layer]

    def apply(self, weight: Tensor, initial: Matrix, layer: int) -> None:
        """Re-weight the matrix of a layer, (outputs, inputs), at the state."""
        untrained = torch.from_numpy(initial).to(weight, copy=True)
        for done in range(1, self._step):
            self._decay(untrained, done)
            if done in self._counts:
                self._reweight(untrained, untrained, initial, layer, done)
        self._decay(untrained, self._step)
        self._reweight(weight, untrained, initial, layer, self._step)

    def _decay(self, untrained: Tensor, done: int) -> None:
        """The decay of the update that makes `done` of them."""
        if self._kept and (kept := self._kept[done - 1]) != 1:
            untrained.mul_(untrained.new_tensor(kept))

    def _reweight(self, weight: Tensor, untrained: Tensor, initial: Matrix, layer: int, state: int) -> None:
        """Re-weight a matrix at one state.

        Args:
            weight: The matrix.
            untrained: The matrix if it had learned nothing.
            initial: W_0 in double precision.
            layer: Layer of the matrix, from 0.
            state: In updates done.
        """
        before, now = (counts[layer] for counts in self._counts[state])
        if now == 0:
            weight.sub_(untrained)
        elif now != before:
            left = math.prod(self._kept[:state])
            weight.add_(torch.from_numpy(initial * (left * (now - before))).to(weight))


def _layers(pack: Engine) -> range:
    return range(len(pack.weights))
