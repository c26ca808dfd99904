"""The autograd engine: against the hand-written pack, and on other models against plain PyTorch."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.engine.autograd import AutogradEngine
from ipcore.engine.choice import engine_of
from ipcore.engine.engine import PackShape
from ipcore.engine.inputs import Inputs
from ipcore.engine.pack import Pack
from ipcore.models import MLP, Architecture, Mlp, ResidualMlp
from ipcore.models.model import chain
from ipcore.theory import preset
from ipcore.training.checkpoint import restore, save
from ipcore.training.trainer import Trainer
from tests.ipcore.plain import Plain
from tests.ipcore.test_differential import cases, dataset, distance, steps_before_blow_up

RESIDUAL = [ResidualMlp(beta, k) for beta in ("depth^-1/2", "depth^-1", "1") for k in (1, 2)]
NORMALIZED = [Mlp("rms"), ResidualMlp("depth^-1/2", 1, "rms"), ResidualMlp("depth^-1", 2, "rms")]


def rows(trainer: Trainer) -> tuple[list[tuple[int, str, int]], np.ndarray]:
    points = list(trainer.advance().points.rows())
    return [point[:3] for point in points], np.array([point[3] for point in points])


@pytest.mark.parametrize("precision", ["double", "single", "bf16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_does_what_the_pack_does(optimizer: str, precision: str):
    """The drawn packs cover all presets, activations, losses, schedules, biases, calibration and decay."""
    dtype = torch.float64 if precision == "double" else torch.float32
    near = 1e-12 if precision == "double" else 1e-6
    for case in cases(optimizer, precision)[::4]:
        made = [
            Trainer(case.config, case.runs, dataset(case.data), dtype=dtype, engine=engine)
            for engine in (Pack, AutogradEngine)
        ]
        rates = [np.array(list(trainer.calibrated_rates.values())) for trainer in made]
        np.testing.assert_allclose(*rates, rtol=near)
        (names, values), (expected_names, expected) = rows(made[1]), rows(made[0])
        assert names == expected_names
        np.testing.assert_allclose(values, expected, rtol=near)
        for name, tensor in made[0].state().items():
            torch.testing.assert_close(made[1].state()[name], tensor, rtol=near, atol=0, equal_nan=True)


def test_perceptrons_are_trained_by_the_pack_and_others_by_autograd():
    assert engine_of(MLP) is Pack
    for model in (ResidualMlp(), Mlp("rms")):
        assert engine_of(model) is AutogradEngine
        shape = PackShape(1, Architecture(model, 1, 2, 2, 2), 1, 0)
        with pytest.raises(TypeError, match=type(model).__name__):
            Pack(shape, "relu", "mse", torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", RESIDUAL + NORMALIZED, ids=repr)
def test_models_are_those_of_plain_pytorch(model: Mlp | ResidualMlp, optimizer: str):
    """Losses, calibrated rates and weights in double precision, run by run from the same initial weights."""
    sized, L = OPTIMIZERS[optimizer].entrywise, 2
    depth = model.layers(L) - 1
    multiplier = model.branch_multiplier if isinstance(model, ResidualMlp) else "1"
    activation = {"depth^-1/2": "relu", "depth^-1": "gelu", "1": "tanh"}[multiplier]
    config = PackConfig(
        "registered:three", L, 6, activation, 4, 5, optimizer=optimizer, metrics_interval=1, model=model,
        schedule=Schedule("linear", warmup_steps=2),
    )  # fmt: skip
    settings = OptimizerSettings(weight_decay=0.0 if optimizer == "adam" else 0.1)
    names = ["mup", "sp", "ntk"] if sized else ["mup", "sp", "ntk", "hp", "ip-bias"]
    calibration = None if sized else Calibration(cap=20.0)
    runs = [
        RunConfig(
            preset(name, depth, optimizer=optimizer), 0.01 if sized else 0.05, seed,
            calibration if name == "mup" else None, settings,
        )
        for seed, name in enumerate(names)
    ]  # fmt: skip
    data = dataset("three")
    trainer = Trainer(config, runs, data, dtype=torch.float64)
    starts = [trainer.network(p) for p in range(len(runs))]
    losses = np.full((len(runs), 5), np.inf)
    for run, metric, step, value in trainer.advance().points.rows():
        if metric == "train_loss":
            losses[run, step - 1] = value
    for position, start in enumerate(starts):
        truth = Plain(config, runs[position], start, data, torch.float64)
        truth.train()
        if truth.first_rates is not None:
            assert trainer.calibrated_rates[position] == pytest.approx(truth.first_rates, rel=1e-9)
        assert steps_before_blow_up(truth) == 5
        assert losses[position] == pytest.approx(truth.losses, rel=1e-9)
        network = trainer.network(position)
        assert distance((*network.weights, *network.biases), truth) < 1e-9
        inputs = torch.from_numpy(data.test.inputs).double()
        assert torch.allclose(network.forward(inputs), truth.forward(inputs), rtol=1e-9)


@dataclass(frozen=True, slots=True)
class Tied:
    """One hidden matrix, applied L times: h^{t+1} = W^2 phi(h^t)."""

    name: ClassVar[str] = "tied"

    def problems(self):
        return []

    def layers(self, hidden_layers):
        return 3

    def tensors(self, hidden_layers, input_dim, output_dim, biases):
        return chain(3, input_dim, output_dim, biases)

    def forward(self, hidden_layers, ops, x):
        h = ops.linear(1, x)
        for _ in range(hidden_layers):
            h = ops.linear(2, ops.activate(1, h))
        return ops.linear(3, ops.activate(2, h))


def test_a_matrix_that_is_used_more_than_once_learns_from_all_its_uses():
    torch.manual_seed(0)
    K, B, L = 2, 5, 3
    shape = PackShape(K, Architecture(Tied(), L, 6, 4, 3), B, biases=2)
    engine = AutogradEngine(shape, "tanh", "cross_entropy", torch.float64, torch.device("cpu"))
    for tensor in (*engine.weights, *engine.biases):
        tensor.normal_()
    x, y = torch.randn(B, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    batch = torch.arange(B, dtype=torch.int32).unsqueeze(0)
    for _ in range(2):  # the second step computes into the tensors of the first
        leaves = [tensor.clone().requires_grad_() for tensor in (*engine.weights, *engine.biases)]
        h = x @ leaves[0].mT + leaves[3]
        for _ in range(L):
            h = torch.tanh(h) @ leaves[1].mT + leaves[4]
        f = torch.tanh(h) @ leaves[2].mT
        loss = torch.nn.functional.cross_entropy(f.flatten(0, 1), y.repeat(K), reduction="sum")
        expected = torch.autograd.grad(loss, leaves)
        engine.gather(Inputs(x), y, batch, torch.zeros(K, dtype=torch.int64))
        found = {}

        def keep(layer, dz, below, found=found):
            found[layer] = (dz.mT @ below, dz.sum(dim=1, keepdim=True))

        engine.step(keep)
        assert sorted(found) == [1, 2, 3]
        for layer in (1, 2, 3):
            assert torch.allclose(found[layer][0], expected[layer - 1])
        for layer in (1, 2):
            assert torch.allclose(found[layer][1], expected[layer + 2])


CONFIG = PackConfig(
    "digits", 3, 8, "gelu", 8, 12, optimizer="momentum", metrics_interval=1, evaluation_interval=4,
    model=ResidualMlp("depth^-1", 2), probes=Probes(("coordinates", "gradients"), steps=(0, 6), examples=9),
)  # fmt: skip
RUNS = [RunConfig(preset(name, 7), 0.05, seed) for seed, name in enumerate(("mup", "sp", "hpz"))]


def test_a_resumed_residual_mlp_is_the_uninterrupted_one_bit_for_bit(tiny: Dataset, tmp_path):
    whole, first, second = (Trainer(CONFIG, RUNS, tiny, clock=lambda: 0.0) for _ in range(3))
    _, expected = rows(whole)
    points = list(first.advance(max_steps=5).points.rows())
    save(first, tmp_path / "c")
    assert restore(second, tmp_path / "c") == ()
    points += second.advance().points.rows()
    assert [value for *_, value in points] == expected.tolist()
    assert all(torch.equal(a, b) for a, b in zip(whole.pack.weights, second.pack.weights, strict=True))


def test_a_checkpoint_is_of_one_model_alone(tiny: Dataset, tmp_path):
    from ipcore.errors import CheckpointError

    save(Trainer(CONFIG, RUNS, tiny), tmp_path / "c")
    other = Trainer(replace(CONFIG, model=ResidualMlp("depth^-1/2", 2)), RUNS, tiny)
    with pytest.raises(CheckpointError, match="another pack"):
        restore(other, tmp_path / "c")


def test_runs_do_not_see_each_other_and_cut_slices_change_nothing(tiny: Dataset):
    whole = Trainer(CONFIG, RUNS, tiny)
    whole.advance()
    alone = Trainer(CONFIG, RUNS[1:2], tiny)
    while not alone.finished:
        alone.advance(max_steps=1)
    for one, other in zip(whole.pack.weights, alone.pack.weights, strict=True):
        assert torch.allclose(one[1], other[0], rtol=1e-4, atol=1e-6)


def test_probes_change_nothing_of_training(tiny: Dataset):
    with_probes, without = Trainer(CONFIG, RUNS, tiny), Trainer(replace(CONFIG, probes=None), RUNS, tiny)
    for trainer in (with_probes, without):
        trainer.advance()
    for one, other in zip(with_probes.pack.weights, without.pack.weights, strict=True):
        assert torch.equal(one, other)


def test_an_engine_is_freed_with_its_trainer(tiny: Dataset):
    """A pass leaves no reference cycle with the engine: memory is freed with the last reference."""
    trainer = Trainer(CONFIG, RUNS, tiny)
    trainer.advance(max_steps=2)
    held = weakref.ref(trainer.pack.weights[0])
    gc.disable()
    try:
        del trainer
        assert held() is None
    finally:
        gc.enable()
