"""Probes of residual networks: one layer per weight matrix; h^l of a block's last one is the sum after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.models import ResidualMlp
from ipcore.randomness import probe_examples
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

L = 2
EVERYWHERE = (
    "h", "h_change", "dh", "gradient", "update", "alignment_initial", "alignment_update",
    "update_squared_trace_rank", "update_stable_rank", "update_threshold_rank",
)  # fmt: skip
HIDDEN = ("x", "x_change", "x_squared_trace_rank", "x_stable_rank", "x_threshold_rank", "cka")


def recorded(tiny: Dataset, model: ResidualMlp, quantities: tuple[str, ...]) -> tuple[Trainer, dict]:
    probes = Probes(quantities, steps=(0, 3), examples=6)
    config = PackConfig("digits", L, 5, "tanh", 4, 3, probes=probes, model=model)
    runs = [RunConfig(preset(name, config.layers - 1), 0.1, seed) for seed, name in enumerate(("mup", "ntk"))]
    trainer = Trainer(config, runs, tiny, dtype=torch.float64)
    return trainer, {(run, name, step): value for run, name, step, value in trainer.advance().points.rows()}


@pytest.mark.parametrize("matrices", [1, 2])
def test_sizes_and_derivatives_are_those_of_plain_pytorch(tiny: Dataset, matrices: int):
    model = ResidualMlp("depth^-1/2", matrices)
    trainer, found = recorded(tiny, model, ("coordinates", "gradients"))
    chosen = probe_examples(len(tiny.train), 6)
    x = torch.from_numpy(tiny.train.inputs[chosen]).double()
    y = torch.from_numpy(tiny.train.labels[chosen])
    for run in range(2):
        network = trainer.network(run)
        powers = [5.0 ** float(-a) for a in network.parameterization.a]
        w = [weight.clone().requires_grad_() for weight in network.weights]
        h = [x @ (powers[0] * w[0]).mT + powers[0] * network.biases[0]]
        for layer in range(1, len(w) - 1):
            z = torch.tanh(h[-1]) @ (powers[layer] * w[layer]).mT
            ends = matrices == 1 or layer % 2 == 0
            below = h[-1] if matrices == 1 else h[layer - 2]
            h.append(below + z / L**0.5 if ends else z)
        h.append(torch.tanh(h[-1]) @ (powers[-1] * w[-1]).mT)
        loss = torch.nn.functional.cross_entropy(h[-1], y, reduction="sum")
        dh = torch.autograd.grad(loss, h, retain_graph=True)
        dw = torch.autograd.grad(loss / 6, w)
        for layer in range(1, len(w) + 1):
            expected = {"h": h[layer - 1], "dh": dh[layer - 1], "gradient": dw[layer - 1]}
            for name, tensor in expected.items():
                value = found[run, f"{name}/{layer}", 3]
                assert value == pytest.approx(tensor.abs().mean().item(), rel=1e-9), (name, layer)


@pytest.mark.parametrize("matrices", [1, 2])
def test_every_quantity_has_every_layer(tiny: Dataset, matrices: int):
    probes = ("coordinates", "gradients", "alignment", "ranks", "kernels")
    _, found = recorded(tiny, ResidualMlp(block_matrices=matrices), probes)
    last = L * matrices + 2
    assert {name for run, name, step in found if "/" in name and (run, step) == (0, 3)} == {
        *(f"{name}/{layer}" for name in EVERYWHERE for layer in range(1, last + 1)),
        *(f"{name}/{layer}" for name in HIDDEN for layer in range(1, last)),
        *(f"alignment_backward/{layer}" for layer in range(2, last)),
        *(f"alignment_change/{layer}" for layer in range(2, last + 1)),
    }
    assert all(np.isfinite(value) for value in found.values())
    assert found[0, "h_change/1", 0] == found[0, f"h_change/{last}", 0] == 0
