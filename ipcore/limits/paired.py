"""A network beside the kernel machine that starts from the network's own f_0.

A kernel's limit starts from a random f_0. So the outputs of a network and of the limit of its seed differ by
two draws of f_0 at any width, and their distance does not fall. Started from the network's f_0 and trained on
its batches, the kernel machine differs by the network's own kernel and by its movement, which vanish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.errors import ConfigError
from ipcore.limits.learners import KernelLearner
from ipcore.limits.trainer import LimitTrainer
from ipcore.training.trainer import Trainer


@dataclass(frozen=True, eq=False, slots=True)
class Paired:
    """Outputs on the test set at a step, (n, C) each, double precision.

    Attributes:
        step: Updates done.
        start: f_0, of both.
        network: f of the network.
        kernel: f of the kernel machine.
    """

    step: int
    start: Tensor
    network: Tensor
    kernel: Tensor

    @property
    def square(self) -> float:
        """|f - g|^2 / |g - f_0|^2 of the network's f and the machine's g; NaN before anything is learned."""
        return float((self.network - self.kernel).square().sum() / (self.kernel - self.start).square().sum())


def paired_outputs(
    config: PackConfig,
    run: RunConfig,
    dataset: Dataset,
    steps: Sequence[int],
    *,
    threads: int | None = None,
    data_seed: int | None = None,
) -> Iterator[Paired]:
    """Train a network and its kernel machine side by side.

    Args:
        config: Configuration of the network: dense, of finite width.
        run: The run, for both.
        dataset: What they train on.
        steps: Ascending, >= 1: after which updates outputs are given.
        threads: Inside an operation; None: torch's own setting.
        data_seed: Whose batches they see; None: those of the run's seed.

    Raises:
        ConfigError: The run has no limit, or one that is no kernel.
    """
    if not steps or min(steps) < 1 or list(steps) != sorted(set(steps)) or steps[-1] > config.steps:
        raise ConfigError([f"steps: must ascend within 1 .. {config.steps}, not {list(steps)}"])
    dense = Trainer(config, [run], dataset, threads=threads, data_seed=data_seed)
    infinite = replace(config, infinite_width=True, weights="none", probes=None)
    limit = LimitTrainer(infinite, [run], dataset, threads=threads, data_seed=data_seed)
    learner = limit.learners[0]
    if not isinstance(learner, KernelLearner):
        raise ConfigError(
            ["parameterization: its limit is no kernel machine; from f_0 = 0 none needs pairing"]
        )
    test, train = (torch.from_numpy(split.inputs) for split in (dataset.test, dataset.train))
    start = dense.pack.infer(test)[0].double()
    # The drawn f_0 is not used.
    learner.machine.start(dense.pack.infer(train[learner.rows])[0], {"test": start})
    for step in steps:
        dense.advance(max_steps=step - dense.step)
        limit.advance(max_steps=step - limit.step)
        yield Paired(step, start, dense.pack.infer(test)[0].double(), limit.outputs(0)[0])
