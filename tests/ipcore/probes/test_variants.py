"""Probes under every loss, optimizer and kind of parameterization that can be trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore.catalogue import PROBES
from ipcore.config import Calibration, PackConfig, Probes, RunConfig
from ipcore.data import Dataset, Split
from ipcore.randomness import probe_examples
from ipcore.theory import preset
from ipcore.training import checkpoint
from ipcore.training.trainer import Trainer

CONFIG = PackConfig(
    "digits", 2, 12, "tanh", batch_size=8, steps=5, validation_size=10,
    probes=Probes(tuple(PROBES), interval=1, examples=6),
)  # fmt: skip
SGD = tuple(RunConfig(preset(name, 2), 0.05, 0) for name in ("mup", "ip-bias", "hp", "hpz", "ip-llr"))


def measured(trainer: Trainer) -> dict[tuple[int, str, int], float]:
    rows = trainer.advance().points.rows()
    return {(run, name, step): value for run, name, step, value in rows if "/" in name}


def two_classes(data: Dataset) -> Dataset:
    splits = (Split(split.inputs, split.labels % 2) for split in (data.train, data.test))
    return Dataset("digits", *splits, classes=2)


def real_targets(data: Dataset) -> Dataset:
    splits = (Split(split.inputs, np.sin(split.inputs[:, :2])) for split in (data.train, data.test))
    return Dataset("digits", *splits, classes=0)


def plain_loss(loss: str, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Loss of each example."""
    if loss == "cross_entropy":
        return -torch.log_softmax(f, dim=1)[torch.arange(len(y)), y]
    if loss == "mse":
        target = y if y.ndim == 2 else torch.eye(f.shape[1], dtype=f.dtype)[y]
        return ((f - target) ** 2).sum(dim=1) / 2
    margin = f[:, 0] * (2 * y - 1)
    return torch.log(1 + torch.exp(-margin)) if loss == "logistic" else torch.exp(-margin)


CASES = [
    ("cross_entropy", lambda data: data),
    ("mse", lambda data: data),
    ("mse", real_targets),
    ("logistic", two_classes),
    ("exponential", two_classes),
]


@pytest.mark.parametrize(("loss", "shaped"), CASES)
def test_derivatives_of_every_loss_and_biases_of_every_layer(tiny: Dataset, loss: str, shaped):
    """Against autograd on the effective weights, at the state after the last update."""
    data = shaped(tiny)
    trainer = Trainer(replace(CONFIG, loss=loss), SGD, data, dtype=torch.float64)
    found = measured(trainer)
    assert len(trainer.pack.biases) == 3  # ip-bias has one in every layer, so the pack has
    chosen = probe_examples(30, 6)  # of what the validation set leaves
    x, y = trainer._inputs.at(chosen).clone(), trainer._labels[chosen].clone()
    for run, settings in enumerate(SGD):
        weights = [w[run].clone().requires_grad_() for w in trainer.pack.weights]
        hs, below = [], x
        for weight, bias in zip(weights, trainer.pack.biases, strict=True):
            hs.append(below @ weight.mT + bias[run].clone())
            below = torch.tanh(hs[-1])
        losses = plain_loss(loss, hs[-1], y)
        dh = torch.autograd.grad(losses.sum(), hs, retain_graph=True)
        gradients = torch.autograd.grad(losses.mean(), weights)
        for layer, a in enumerate(settings.parameterization.a, start=1):
            assert found[run, f"h/{layer}", 5] == pytest.approx(hs[layer - 1].abs().mean().item())
            size = dh[layer - 1].abs().mean().item()
            assert found[run, f"dh/{layer}", 5] == pytest.approx(size, rel=1e-9)
            # dL/dw = m^{-a} dL/dW
            size = 12 ** -float(a) * gradients[layer - 1].abs().mean().item()
            assert found[run, f"gradient/{layer}", 5] == pytest.approx(size, rel=1e-9)


def test_a_reweighted_initial_matrix_counts_as_an_update(tiny: Dataset):
    """hpz takes the initial hidden matrix away after step 1: W_2 - W_0 - (W_1 - W_0) contains -W_0."""
    trainer = Trainer(CONFIG, SGD[2:4], tiny, dtype=torch.float64)
    initial = trainer.pack.weights[1].clone()
    trainer.advance(max_steps=2)
    change = (trainer.pack.weights[1] - initial).abs().mean(dim=(1, 2))
    found = measured(Trainer(CONFIG, SGD[2:4], tiny, dtype=torch.float64))
    for run in (0, 1):
        assert found[run, "update/2", 2] == pytest.approx(float(change[run]), rel=1e-9)
    assert found[1, "update/2", 2] > 0.5 * initial[1].abs().mean().item()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_training_is_the_same_and_resumes_the_same(tiny: Dataset, tmp_path, optimizer: str):
    names = ("mup", "ip", "ntk") if optimizer.startswith("adam") else ("ip-bias", "hp", "ip-non-centered")
    runs = [RunConfig(preset(name, 2, optimizer=optimizer), 0.01, seed) for seed, name in enumerate(names)]
    if optimizer == "sgd":
        runs.append(RunConfig(preset("ip-llr", 2), 0.1, 0, Calibration()))
    config = replace(CONFIG, optimizer=optimizer, metrics_interval=1, evaluation_interval=1)
    plain, probed = Trainer(replace(config, probes=None), runs, tiny), Trainer(config, runs, tiny)
    rows = list(probed.advance().points.rows())
    assert [row for row in rows if "/" not in row[1]] == list(plain.advance().points.rows())
    for ours, theirs in zip(probed.state().values(), plain.state().values(), strict=True):
        assert torch.equal(ours, theirs)

    first, resumed = Trainer(config, runs, tiny), Trainer(config, runs, tiny)
    begun = list(first.advance(max_steps=3).points.rows())
    checkpoint.save(first, tmp_path / "c.safetensors")
    checkpoint.restore(resumed, tmp_path / "c.safetensors")
    assert begun + list(resumed.advance().points.rows()) == rows
