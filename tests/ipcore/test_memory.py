from __future__ import annotations

import subprocess
import sys

import pytest

from ipcore.activations import ACTIVATIONS
from ipcore.catalogue import DATASETS
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.memory import (
    KEEPS_PREACTIVATION,
    dataset_memory_bytes,
    pack_memory_bytes,
    run_memory,
    run_memory_bytes,
)
from ipcore.theory import preset
from ipcore.trainer import Trainer


@pytest.mark.parametrize("bias", ["first", "none"])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_model_is_what_a_trainer_allocates(tiny: Dataset, activation: str, depth: int, bias: str):
    config = PackConfig("digits", depth, 16, activation, batch_size=8, steps=1, bias=bias)
    K = 3
    trainer = Trainer(config, [RunConfig(preset("mup", depth), 0.1, seed) for seed in range(K)], tiny)
    found = sum(t.numel() * t.element_size() for t in [*trainer.pack.buffers(), trainer._history])
    model = run_memory(config, tiny.info)
    assert K * (model.weights + model.buffers) == found
    weights = [*trainer.pack.weights, *([] if trainer.pack.bias is None else [trainer.pack.bias])]
    assert K * model.weights == sum(w.numel() * w.element_size() for w in weights)


def test_the_list_of_kept_preactivations_is_right():
    assert {name for name, phi in ACTIVATIONS.items() if phi.keeps_preactivation} == KEEPS_PREACTIVATION


def test_batches_hold_one_index_per_example(digits: Dataset):
    config = PackConfig("digits", 1, 4, "relu", batch_size=1, steps=1)
    trainer = Trainer(config, [RunConfig(preset("mup", 1), 0.1, seed) for seed in range(3)], digits)
    trainer.advance()
    assert trainer._batches._table is not None
    table = trainer._batches._table
    assert table.numel() * table.element_size() == 3 * run_memory(config, digits.info).batches


def test_the_dataset_is_what_it_takes(digits: Dataset):
    arrays = [a for split in (digits.train, digits.test) for a in (split.inputs, split.labels)]
    assert sum(array.nbytes for array in arrays) == dataset_memory_bytes(digits.info)
    assert dataset_memory_bytes(DATASETS["mnist"]) == 70_000 * (4 * 784 + 8)


def test_a_pack_of_one_is_a_run_and_packs_add_up():
    config = PackConfig("mnist", 3, 64, "gelu", batch_size=32, steps=1)
    each = run_memory(config, DATASETS["mnist"])
    assert pack_memory_bytes(config, DATASETS["mnist"], runs=1) == run_memory_bytes(config, DATASETS["mnist"])
    assert (
        pack_memory_bytes(config, DATASETS["mnist"], 9) - pack_memory_bytes(config, DATASETS["mnist"], 8)
        == each.total
    )


def test_transient_memory_is_bounded_by_the_model(tiny: Dataset):
    """Every tensor that torch allocates while training, evaluating and calibrating, at the worst moment."""
    config = PackConfig("digits", 4, 64, "gelu", batch_size=32, steps=4, evaluation_interval=1)
    runs = [RunConfig(preset("ip-llr", 4), 0.1, seed, Calibration()) for seed in range(4)]
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        Trainer(config, runs, tiny, threads=1).advance()
    worst = current = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            worst = max(worst, current)
    model = pack_memory_bytes(config, tiny.info, runs=4)
    assert 0.3 * model < worst <= model


def test_standard_library_only():
    code = (
        "import sys, ipcore, ipcore.memory, ipcore.config, ipcore.catalogue, ipcore.recording; "
        "sys.exit(bool({'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, ipcore.memory; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_of_a_known_size():
    weights = run_memory(PackConfig("mnist", 6, 1024, "elu", 512, 600), DATASETS["mnist"]).weights
    assert weights == 4 * (785 * 1024 + 5 * 1024**2 + 10 * 1024)
