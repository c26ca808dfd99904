"""Weights at step 0: keyed normals, shaped by each parameterization."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.models.scales import initial_bias_stds, initial_means, initial_stds
from ipcore.randomness import bias_normals, weight_normals

Matrix = npt.NDArray[np.float64]


def initialize(pack: Engine, config: PackConfig, runs: Sequence[RunConfig]) -> None:
    """Draw the effective weights of every run: W^l = mu_l m^{-(a_l + mean_l)} + s_l m^{-(a_l + b_l)} z^l.

    Runs with the same seed have the same z, drawn once.
    """
    everything = range(len(pack.weights))
    for position, layer, initial in initial_weights(pack, config, runs, range(len(runs)), everything):
        pack.weights[layer][position].copy_(torch.from_numpy(initial))
    roles = pack.shape.architecture.roles
    for position, run in enumerate(runs):
        stds = initial_bias_stds(run.parameterization, config.width, config.activation, roles, config.bias)
        for layer, std in enumerate(stds):
            bias = pack.biases[layer][position, 0]
            bias.copy_(torch.from_numpy(bias_normals(run.seed, layer + 1, len(bias)) * std))


def initial_weights(
    pack: Engine,
    config: PackConfig,
    runs: Sequence[RunConfig],
    positions: Iterable[int],
    layers: Iterable[int],
) -> Iterable[tuple[int, int, Matrix]]:
    """(position, layer from 0, effective initial matrix), in double precision."""
    by_seed = defaultdict(list)
    for position in positions:
        by_seed[runs[position].seed].append(position)
    architecture, layers = pack.shape.architecture, list(layers)
    sizes = architecture.matrices
    for seed, members in by_seed.items():
        exponents = [runs[position].parameterization for position in members]
        stds = [
            initial_stds(
                p, config.width, config.activation, architecture.roles, architecture.input_dim, config.bias
            )
            for p in exponents
        ]
        means = [initial_means(p, config.width) for p in exponents]
        for layer in layers:
            z = weight_normals(seed, layer + 1, sizes[layer])
            for position, std, mean in zip(members, stds, means, strict=True):
                initial = z * np.float64(std[layer])
                if mean[layer]:
                    initial += mean[layer]
                yield position, layer, initial
