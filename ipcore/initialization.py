"""Weights at step 0: keyed normals times the standard deviations of each parameterization."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.pack import Pack
from ipcore.randomness import bias_normals, weight_normals
from ipcore.scales import initial_bias_std, initial_stds


def initialize(pack: Pack, config: PackConfig, runs: Sequence[RunConfig]) -> None:
    """Draw the effective weights of every run: W^l = s_l m^{-(a_l + b_l)} z^l.

    Runs with the same seed have the same z, drawn once.
    """
    by_seed = defaultdict(list)
    for position, run in enumerate(runs):
        by_seed[run.seed].append(position)
    stds = [
        initial_stds(run.parameterization, config.width, config.activation, pack.shape.dims[0], config.bias)
        for run in runs
    ]
    for seed, positions in by_seed.items():
        for layer, weight in enumerate(pack.weights, start=1):
            z = weight_normals(seed, layer, (weight.shape[1], weight.shape[2]))
            for position in positions:
                weight[position].copy_(torch.from_numpy(z * np.float64(stds[position][layer - 1])))
        if pack.bias is not None:
            z = bias_normals(seed, 1, config.width)
            for position in positions:
                std = initial_bias_std(runs[position].parameterization, config.width, config.activation)
                pack.bias[position, 0].copy_(torch.from_numpy(z * std))
