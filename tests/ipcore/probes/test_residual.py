"""Probes of residual networks: one layer per weight matrix; h^l of a block's last one is the sum after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.models import Mlp, Model, ResidualMlp
from ipcore.randomness import probe_examples
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

L = 2
EVERYWHERE = (
    "h", "h_change", "dh", "gradient", "update", "alignment_initial", "alignment_update",
    "update_squared_trace_rank", "update_stable_rank", "update_threshold_rank",
)  # fmt: skip
HIDDEN = ("x", "x_change", "x_squared_trace_rank", "x_stable_rank", "x_threshold_rank", "cka")


def recorded(tiny: Dataset, model: Model, quantities: tuple[str, ...]) -> tuple[Trainer, dict]:
    probes = Probes(quantities, steps=(0, 3), examples=6)
    config = PackConfig("digits", L, 5, "tanh", 4, 3, probes=probes, model=model)
    runs = [RunConfig(preset(name, config.layers - 1), 0.1, seed) for seed, name in enumerate(("mup", "ntk"))]
    trainer = Trainer(config, runs, tiny, dtype=torch.float64)
    return trainer, {(run, name, step): value for run, name, step, value in trainer.advance().points.rows()}


@pytest.mark.parametrize("normalization", ["none", "rms"])
@pytest.mark.parametrize("matrices", [1, 2])
def test_sizes_and_derivatives_are_those_of_plain_pytorch(tiny: Dataset, matrices: int, normalization: str):
    model = ResidualMlp("depth^-1/2", matrices, normalization)

    def phi(h):
        if normalization == "rms":
            h = torch.nn.functional.rms_norm(h, h.shape[-1:], eps=0)
        return torch.tanh(h)

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
            z = phi(h[-1]) @ (powers[layer] * w[layer]).mT
            ends = matrices == 1 or layer % 2 == 0
            below = h[-1] if matrices == 1 else h[layer - 2]
            h.append(below + z / L**0.5 if ends else z)
        h.append(phi(h[-1]) @ (powers[-1] * w[-1]).mT)
        loss = torch.nn.functional.cross_entropy(h[-1], y, reduction="sum")
        dh = torch.autograd.grad(loss, h, retain_graph=True)
        dw = torch.autograd.grad(loss / 6, w)
        for layer in range(1, len(w) + 1):
            expected = {"h": h[layer - 1], "dh": dh[layer - 1], "gradient": dw[layer - 1]}
            if layer < len(w):
                expected["x"] = phi(h[layer - 1])
            for name, tensor in expected.items():
                value = found[run, f"{name}/{layer}", 3]
                assert value == pytest.approx(tensor.abs().mean().item(), rel=1e-9), (name, layer)


def test_parts_of_normalized_networks_are_those_of_plain_pytorch(tiny: Dataset):
    """W_0 acts on what x = tanh(h / rms(h)) has changed by."""
    trainer, found = recorded(tiny, Mlp("rms"), ("parts",))
    x = torch.from_numpy(tiny.train.inputs[probe_examples(len(tiny.train), 6)]).double()
    config = replace(trainer.config, probes=None)
    for run, name in enumerate(("mup", "ntk")):
        start = Trainer(config, [RunConfig(preset(name, L), 0.1, run)], tiny, dtype=torch.float64).network(0)
        passes = []
        for network in (start, trainer.network(run)):
            scales = [5.0 ** float(-a) for a in network.parameterization.a]
            w = [scale * weight for scale, weight in zip(scales, network.weights, strict=True)]
            inputs, h = [x], [x @ w[0].mT + scales[0] * network.biases[0]]
            for weight in w[1:]:
                inputs.append(torch.tanh(torch.nn.functional.rms_norm(h[-1], h[-1].shape[-1:], eps=0)))
                h.append(inputs[-1] @ weight.mT)
            passes.append((w, inputs, h))
        (w_0, x_0, h_0), (_, x_t, h_t) = passes
        for i in range(1, L + 1):
            below = (x_t[i] - x_0[i]) @ w_0[i].mT
            own = h_t[i] - h_0[i] - below
            for part, tensor in (("change_below", below), ("change_own", own)):
                value = found[run, f"{part}/{i + 1}", 3]
                assert value == pytest.approx(tensor.abs().mean().item(), rel=1e-9), (part, i)


@pytest.mark.parametrize(
    "model",
    [ResidualMlp(), ResidualMlp(block_matrices=2), ResidualMlp("1", 2, "rms"), Mlp("rms")],
    ids=repr,
)
def test_every_quantity_has_every_layer(tiny: Dataset, model: Model):
    probes = ("coordinates", "gradients", "alignment", "ranks", "kernels")
    _, found = recorded(tiny, model, probes)
    last = model.layers(L)
    assert {name for run, name, step in found if "/" in name and (run, step) == (0, 3)} == {
        *(f"{name}/{layer}" for name in EVERYWHERE for layer in range(1, last + 1)),
        *(f"{name}/{layer}" for name in HIDDEN for layer in range(1, last)),
        *(f"alignment_backward/{layer}" for layer in range(2, last)),
        *(f"alignment_change/{layer}" for layer in range(2, last + 1)),
    }
    assert all(np.isfinite(value) for value in found.values())
    assert found[0, "h_change/1", 0] == found[0, f"h_change/{last}", 0] == 0
    assert found[0, "x_change/1", 0] == found[0, f"x_change/{last - 1}", 0] == 0


def test_changes_of_normalized_activations_are_relative_to_step_0(tiny: Dataset):
    """x_t - x_0 with x_0 from the initial network, normalized as x_t is."""
    trainer, found = recorded(tiny, Mlp("rms"), ("coordinates",))
    _, start = recorded(tiny, Mlp("rms"), ("coordinates",))
    chosen = torch.from_numpy(tiny.train.inputs[probe_examples(len(tiny.train), 6)]).double()
    now = trainer.network(0)
    initial = Trainer(trainer.config, trainer.runs, tiny, dtype=torch.float64).network(0)

    def x(network):
        scale = 5.0 ** float(-network.parameterization.a[0])
        h = chosen @ (scale * network.weights[0]).mT + scale * network.biases[0]
        return torch.tanh(torch.nn.functional.rms_norm(h, (5,), eps=0))

    assert found[0, "x_change/1", 3] == pytest.approx((x(now) - x(initial)).abs().mean().item(), rel=1e-9)
    assert found == start
