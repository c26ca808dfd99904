from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace

import pytest
import torch

from ipcore.catalogue import DATASETS, OPTIMIZERS
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.models import MLP, Mlp, Model, ResidualMlp
from ipcore.models.activations import ACTIVATIONS
from ipcore.planning.memory import (
    dataset_memory_bytes,
    pack_memory_bytes,
    run_memory,
    run_memory_bytes,
)
from ipcore.randomness import epoch_batches
from ipcore.theory import preset
from ipcore.training.batches import Batches
from ipcore.training.holdout import split_training
from ipcore.training.trainer import Trainer


def size(tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("bias", ["first", "none"])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, "relu^2", "relu^1"])
def test_the_model_is_what_a_trainer_allocates(tiny: Dataset, activation: str, depth: int, bias: str):
    config = PackConfig("digits", depth, 16, activation, batch_size=8, steps=1, bias=bias)
    K = 3
    trainer = Trainer(config, [RunConfig(preset("mup", depth), 0.1, seed) for seed in range(K)], tiny)
    model = run_memory(config, tiny.info)
    assert K * (model.weights + model.buffers) == size([*trainer.pack.buffers(), trainer._history])
    assert K * model.weights == size([*trainer.pack.weights, *trainer.pack.biases])
    assert model.optimizer == 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("matrices", [1, 2])
@pytest.mark.parametrize("normalization", ["none", "rms"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_model_of_other_networks_is_what_a_trainer_allocates(
    tiny: Dataset, activation: str, matrices: int, precision: str, normalization: str
):
    model = ResidualMlp(block_matrices=matrices, normalization=normalization)
    other = Mlp(normalization) if (matrices, normalization) == (1, "rms") else model
    config = PackConfig("digits", 3, 16, activation, 8, steps=1, model=other, precision=precision)
    K = 3
    runs = [RunConfig(preset("mup", config.layers - 1), 0.1, seed) for seed in range(K)]
    trainer = Trainer(config, runs, tiny)
    trainer.advance()
    counted = run_memory(config, tiny.info)
    assert K * (counted.weights + counted.buffers) == size([*trainer.pack.buffers(), trainer._history])
    assert K * counted.weights == size([*trainer.pack.weights, *trainer.pack.biases])


@pytest.mark.parametrize("own_biases", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_model_of_an_optimizer_is_what_it_allocates(tiny: Dataset, optimizer: str, own_biases: bool):
    config = PackConfig("digits", 2, 16, "relu", batch_size=8, steps=1, optimizer=optimizer)
    names = ["ip", "ip-bias" if own_biases else "mup"]
    # Exponents of ip-bias with Adam are not published; the allocated memory does not depend on them.
    trainer = Trainer(config, [RunConfig(preset(name, 2), 0.01, 0) for name in names], tiny)
    model = run_memory(config, tiny.info, own_biases=own_biases)
    assert 2 * model.optimizer == size(trainer._optimizer.buffers())
    assert 2 * model.weights == size([*trainer.pack.weights, *trainer.pack.biases])


def test_real_targets_take_the_place_of_classes(tiny: Dataset):
    targets = [Split(s.inputs, s.inputs[:, :3].copy()) for s in (tiny.train, tiny.test)]
    data = Dataset("digits", *targets, classes=0)
    config = PackConfig("digits", 2, 16, "relu", batch_size=8, steps=1, loss="mse")
    trainer = Trainer(config, [RunConfig(preset("mup", 2), 0.1, 0)], data)
    model = run_memory(config, data.info)
    assert model.weights + model.buffers == size([*trainer.pack.buffers(), trainer._history])


def test_a_validation_set_costs_a_copy_of_the_training_set(digits: Dataset):
    config = PackConfig("digits", 1, 4, "relu", batch_size=1, steps=1)
    held = replace(config, validation_size=437)
    parts = [part for part in split_training(digits, 437) if part is not None]
    copied = sum(part.inputs.nbytes + part.labels.nbytes for part in parts)
    more = pack_memory_bytes(held, digits.info, 2) - pack_memory_bytes(config, digits.info, 2)
    assert more == copied - 2 * 4 * 437  # fewer batch indices


def test_batches_hold_one_index_per_example(digits: Dataset):
    config = PackConfig("digits", 1, 4, "relu", batch_size=1, steps=1)
    trainer = Trainer(config, [RunConfig(preset("mup", 1), 0.1, seed) for seed in range(3)], digits)
    trainer.advance()
    assert trainer._batches._table is not None
    table = trainer._batches._table
    assert table.numel() * table.element_size() == 3 * run_memory(config, digits.info).batches


def test_the_next_epochs_batches_take_the_place_of_the_last():
    """The peak holds one epoch of every seed, and one permutation (8 bytes) with a copy of it."""
    seeds, examples = range(32), 10_000
    tracemalloc.start()
    batches = Batches(seeds, examples, 100, torch.device("cpu"))
    first = batches.at(1).clone()
    again = batches.at(101)
    worst = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert worst < 4 * len(seeds) * examples + 3 * 8 * examples
    assert not torch.equal(first, again)
    assert again[5].tolist() == epoch_batches(5, 1, examples, 100)[0].tolist()


def test_the_dataset_is_what_it_takes(digits: Dataset):
    arrays = [a for split in (digits.train, digits.test) for a in (split.inputs, split.labels)]
    assert sum(array.nbytes for array in arrays) == dataset_memory_bytes(digits.info)
    assert dataset_memory_bytes(DATASETS["mnist"]) == 70_000 * ((4 + 1) * 784 + 8)  # numbers and bytes


def test_a_pack_of_one_is_a_run_and_packs_add_up():
    config = PackConfig("mnist", 3, 64, "gelu", batch_size=32, steps=1)
    each = run_memory(config, DATASETS["mnist"], own_biases=True)
    assert pack_memory_bytes(config, DATASETS["mnist"], runs=1) == run_memory_bytes(config, DATASETS["mnist"])
    assert (
        pack_memory_bytes(config, DATASETS["mnist"], 9) - pack_memory_bytes(config, DATASETS["mnist"], 8)
        == each.total
    )


@pytest.mark.parametrize(
    "model",
    [MLP, ResidualMlp(), ResidualMlp("1", 2), Mlp("rms"), ResidualMlp("1", 2, "rms")],
    ids=repr,
)
def test_transient_memory_is_bounded_by_the_model(tiny: Dataset, model: Model):
    """Peak of all tensors that torch allocates in training, evaluation and calibration."""
    config = PackConfig("digits", 4, 64, "gelu", batch_size=32, steps=4, evaluation_interval=1, model=model)
    name = "ip-llr" if model == MLP else "mup"
    runs = [RunConfig(preset(name, config.layers - 1), 0.1, seed, Calibration()) for seed in range(4)]
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        Trainer(config, runs, tiny, threads=1).advance()
    worst = current = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            worst = max(worst, current)
    expected = pack_memory_bytes(config, tiny.info, runs=4)
    assert 0.3 * expected < worst <= expected


def test_standard_library_only():
    code = (
        "import sys, ipcore, ipcore.planning.memory, ipcore.config, ipcore.catalogue; "
        "import ipcore.training.recording; "
        "sys.exit(bool({'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, ipcore.planning.memory; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_of_a_known_size():
    weights = run_memory(PackConfig("mnist", 6, 1024, "elu", 512, 600), DATASETS["mnist"]).weights
    assert weights == 4 * (785 * 1024 + 5 * 1024**2 + 10 * 1024)
