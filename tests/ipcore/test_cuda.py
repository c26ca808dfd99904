"""Training on a CUDA device; runs if torch finds one (`pytest -m cuda`, or `tests/gpu.sh`)."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ipcore.catalogue import ACTIVATIONS, LOSSES, OPTIMIZERS, PROBES
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.data import Dataset, Split
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.engine.inputs import training_inputs
from ipcore.engine.precision import matmul_precision
from ipcore.engine.replay import WARM_UP, Replay
from ipcore.planning.machine import DEFAULT_GPU
from ipcore.planning.memory import pack_memory_bytes
from ipcore.theory import preset
from ipcore.training import checkpoint
from ipcore.training.profiling import measure
from ipcore.training.trainer import Trainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CUDA = torch.device("cuda")
CONFIG = PackConfig(
    "digits", 2, 12, "relu", batch_size=8, steps=24, metrics_interval=1, evaluation_interval=6
)
WIDE = PackConfig("digits", 3, 64, "tanh", batch_size=64, steps=60)


def runs_for(optimizer: str) -> list[RunConfig]:
    names = ("mup", "sp", "ntk") if OPTIMIZERS[optimizer].entrywise else ("mup", "ip-bias", "hp", "hpz")
    runs = [
        RunConfig(preset(name, 2, optimizer=optimizer), 0.05, seed % 2) for seed, name in enumerate(names)
    ]
    if not OPTIMIZERS[optimizer].entrywise:
        runs.append(RunConfig(preset("ip-llr", 2), 0.05, 1, Calibration()))
    return runs


def rows(*slices):
    return [row for part in slices for row in part.points.rows()]


def eager(trainer: Trainer) -> Trainer:
    """A trainer that launches its kernels one by one."""
    trainer._update = Replay(trainer._operations(), None)
    return trainer


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trainer._trained().values()]


# Graphs


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_graph_trains_bit_for_bit_as_its_kernels_one_by_one(
    tiny: Dataset, optimizer: str, precision: str, caplog: pytest.LogCaptureFixture
):
    """Across a schedule, an epoch's end, re-weighting, the large first step and the stop of a run."""
    config = replace(
        CONFIG, optimizer=optimizer, precision=precision, schedule=Schedule("linear", warmup_steps=2)
    )
    found = []
    for prepare in (lambda trainer: trainer, eager):
        trainer = prepare(Trainer(config, runs_for(optimizer), tiny, device=CUDA))
        points = rows(trainer.advance(max_steps=9))
        trainer.stop([1])
        points += rows(trainer.advance())
        found.append((points, weights(trainer), trainer._update._graph))
    (graph_points, graph_weights, graph), (points, plain, none) = found

    assert graph is not None and none is None
    assert "cannot be recorded" not in caplog.text
    assert graph_points == points
    assert all(torch.equal(one, two) for one, two in zip(graph_weights, plain, strict=True))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_can_be_recorded(loss: str, tiny: Dataset, caplog: pytest.LogCaptureFixture):
    classes = 2 if loss in ("logistic", "exponential") else 3
    data = tiny
    if classes == 2:
        parts = [replace(part, labels=part.labels.clip(max=1)) for part in (tiny.train, tiny.test)]
        data = replace(tiny, train=parts[0], test=parts[1], classes=2)
    config = replace(CONFIG, loss=loss)
    both = [
        Trainer(config, runs_for("sgd"), data, device=device, dtype=torch.float64) for device in ("cpu", CUDA)
    ]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert both[1]._update._graph is not None, caplog.text
    assert [row[:3] for row in cpu] == [row[:3] for row in gpu]
    assert [row[3] for row in gpu] == pytest.approx([row[3] for row in cpu], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "relu^3/2"])
def test_every_activation_trains_as_on_the_cpu(
    activation: str, tiny: Dataset, caplog: pytest.LogCaptureFixture
):
    runs = [RunConfig(preset("mup", 2), 0.05, seed) for seed in range(3)]
    config = replace(CONFIG, activation=activation)
    both = [Trainer(config, runs, tiny, device=device, dtype=torch.float64) for device in ("cpu", CUDA)]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert both[1]._update._graph is not None, caplog.text
    assert [row[:3] for row in cpu] == [row[:3] for row in gpu]
    assert [row[3] for row in gpu] == pytest.approx([row[3] for row in cpu], rel=1e-6, abs=1e-12)


def test_real_targets_train_as_on_the_cpu(caplog: pytest.LogCaptureFixture):
    rng = np.random.default_rng(0)
    parts = [
        Split(rng.standard_normal((n, 5)).astype(np.float32), rng.standard_normal((n, 2)).astype(np.float32))
        for n in (40, 70)
    ]
    data = Dataset("digits", *parts, classes=0)
    config = replace(CONFIG, loss="mse")
    both = [
        Trainer(config, runs_for("sgd"), data, device=device, dtype=torch.float64) for device in ("cpu", CUDA)
    ]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert both[1]._update._graph is not None, caplog.text
    assert [row[3] for row in gpu] == pytest.approx([row[3] for row in cpu], rel=1e-6, abs=1e-12)


def test_a_trainer_that_nobody_holds_gives_its_memory_back_at_once(digits: Dataset):
    runs = [RunConfig(preset("mup", 3), 0.1, 0)]
    Trainer(WIDE, runs, digits, device=CUDA).advance(max_steps=WARM_UP + 2)  # what is loaded once
    gc.collect()
    gc.disable()
    try:
        before = torch.cuda.memory_allocated()
        trainer = Trainer(WIDE, runs, digits, device=CUDA)
        trainer.advance(max_steps=WARM_UP + 2)
        assert torch.cuda.memory_allocated() > before
        del trainer
        assert torch.cuda.memory_allocated() == before
    finally:
        gc.enable()


def test_a_diverging_run_is_found_and_leaves_the_others_alone(tiny: Dataset):
    runs = runs_for("sgd")
    wild = RunConfig(preset("sp", 2), 1e30, 0)
    both = [Trainer(CONFIG, [*runs, wild], tiny, device=device) for device in ("cpu", CUDA)]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert list(both[1].diverged) == [len(runs)] and both[0].diverged == both[1].diverged
    assert [row[:3] for row in cpu] == [row[:3] for row in gpu]


def test_a_time_limit_ends_a_slice(digits: Dataset):
    config = replace(WIDE, steps=10**6)
    trainer = Trainer(config, [RunConfig(preset("mup", 3), 0.1, 0)], digits, device=CUDA)
    part = trainer.advance(max_seconds=0.2)

    assert 0 < part.last_step < 10**6
    assert 0.2 <= part.seconds < 20


# Bytes


@pytest.fixture(scope="module")
def images() -> Dataset:
    """Byte images of 20 numbers, named like a known dataset."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        values = rng.integers(0, 256, (n, 20), dtype=np.uint8)
        constants = (0.3, 0.25)
        labels = (values[:, 0] > 127).astype(np.int64)
        return Split(scale_pixels(values, constants), labels, as_pixels(values, [constants]))

    return Dataset("digits", split(64), split(70), classes=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_stay_bytes_and_are_gathered_as_numbers(images: Dataset, dtype: torch.dtype):
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    inputs = training_inputs(images.train, exact, CUDA)
    values = inputs.tensors()[0]
    indices = torch.tensor([3, 0, 63, 3], dtype=torch.int32, device=CUDA)
    out = torch.empty(4, 20, dtype=dtype, device=CUDA)
    inputs.gather(indices, out)

    expected = torch.from_numpy(images.train.inputs[[3, 0, 63, 3]])
    close = 2**-7 if dtype == torch.bfloat16 else 1e-6
    assert values.dtype == torch.uint8 and values.device.type == "cuda"
    assert torch.allclose(out.cpu().float(), expected, rtol=close, atol=close)
    assert torch.allclose(inputs.at(indices.long()).cpu().float(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_bytes_is_training_on_the_numbers(images: Dataset, precision: str):
    runs = [RunConfig(preset("mup", 2), 0.05, seed) for seed in (0, 1)]
    plain = replace(
        images,
        train=Split(images.train.inputs, images.train.labels),
        test=Split(images.test.inputs, images.test.labels),
    )
    config = replace(CONFIG, precision=precision)
    found = [Trainer(config, runs, data, device=CUDA).advance() for data in (images, plain)]
    one, two = ([row[3] for row in rows(part) if row[1] in ("train_loss", "test_loss")] for part in found)

    assert one == pytest.approx(two, rel=2e-4 if precision == "fp32" else 3e-2)


# Precision


def relative_error(precision: str) -> float:
    """Of a matmul with 1,024 terms, against double precision."""
    generator = torch.Generator("cuda").manual_seed(0)
    a, b = (torch.randn(2, 256, 1024, device=CUDA, generator=generator) for _ in range(2))
    exact = torch.bmm(a.double(), b.double().mT)
    with matmul_precision(precision):
        return float((torch.bmm(a, b.mT).double() - exact).norm() / exact.norm())


def test_single_precision_is_single_precision_and_tf32_rounds_inputs_to_ten_bits():
    assert relative_error("fp32") < 2e-6
    assert 1e-4 < relative_error("tf32") < 1e-3  # 2^-11 / sqrt 3 for each of two inputs: 4e-4
    assert relative_error("fp32") < 2e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_less_than_single_precision_trains_much_alike(digits: Dataset, optimizer: str, precision: str):
    rate = {"sgd": 0.1, "momentum": 0.02}.get(optimizer, 0.01)
    runs = [RunConfig(preset("mup", 3, optimizer=optimizer), rate, seed) for seed in (0, 1)]
    config = replace(WIDE, optimizer=optimizer)
    full, less = (
        {
            row[:2]: row[3]
            for row in rows(Trainer(replace(config, precision=p), runs, digits, device=CUDA).advance())
            if row[2] == config.steps
        }
        for p in ("fp32", precision)
    )

    for seed in (0, 1):
        assert full[seed, "test_loss"] < 2.0
        assert less[seed, "test_accuracy"] == pytest.approx(full[seed, "test_accuracy"], abs=0.05)
        assert less[seed, "test_loss"] == pytest.approx(full[seed, "test_loss"], rel=0.1)
        assert less[seed, "test_loss"] != full[seed, "test_loss"]


def test_single_precision_agrees_with_the_cpu(digits: Dataset):
    runs = [
        RunConfig(preset("mup", 3), 0.1, 0),
        RunConfig(preset("ip-llr", 3), 0.1, 1, Calibration()),
    ]
    both = [Trainer(WIDE, runs, digits, device=device) for device in ("cpu", CUDA)]
    assert both[1].calibrated_rates[1] == pytest.approx(both[0].calibrated_rates[1], rel=1e-3)
    cpu, gpu = (rows(trainer.advance()) for trainer in both)
    losses = [[row[3] for row in part if row[1] == "test_loss"] for part in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


# Checkpoints


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("cut", [1, WARM_UP, WARM_UP + 1, 17])
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    digits: Dataset, tmp_path: Path, cut: int, precision: str
):
    """Graphs and single kernels give the same bits before, at and after the recorded update."""
    config = replace(WIDE, steps=30, metrics_interval=1, evaluation_interval=5, precision=precision)
    runs = [RunConfig(preset("mup", 3), 0.1, 0), RunConfig(preset("ip-llr", 3), 0.1, 1, Calibration())]
    whole = Trainer(config, runs, digits, device=CUDA)
    expected = rows(whole.advance())
    first = Trainer(config, runs, digits, device=CUDA)
    found = rows(first.advance(max_steps=cut))
    checkpoint.save(first, tmp_path / "c")
    second = Trainer(config, runs, digits, device=CUDA)
    assert checkpoint.restore(second, tmp_path / "c") == ()
    found += rows(second.advance())

    assert sorted(found) == sorted(expected)
    for one, two in zip(whole._trained().values(), second._trained().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_resumes_bit_for_bit(tiny: Dataset, tmp_path: Path, optimizer: str):
    """A checkpoint after every update, with a validation set, a schedule, decay and re-weighting."""
    decay = OptimizerSettings(weight_decay=0.0 if optimizer == "adam" else 0.2)
    runs = [replace(run, settings=decay) for run in runs_for(optimizer)]
    config = replace(
        CONFIG,
        optimizer=optimizer,
        steps=8,
        validation_size=15,
        schedule=Schedule("cosine", warmup_steps=2),
    )

    def fresh() -> Trainer:
        return Trainer(config, runs, tiny, device=CUDA)

    whole, part, found = fresh(), fresh(), []
    expected = rows(whole.advance())
    while not part.finished:
        found += rows(part.advance(max_steps=1))
        checkpoint.save(part, tmp_path / "c")
        part = fresh()
        assert checkpoint.restore(part, tmp_path / "c") == ()
    assert sorted(found) == sorted(expected)
    for one, two in zip(whole._trained().values(), part._trained().values(), strict=True):
        assert torch.equal(one, two)


def test_a_snapshot_does_not_change_while_training_goes_on(digits: Dataset, tmp_path: Path):
    """Checkpoints are written while training continues."""
    trainer = Trainer(WIDE, [RunConfig(preset("mup", 3), 0.1, 0)], digits, device=CUDA)
    trainer.advance(max_steps=7)
    snapshot = checkpoint.take(trainer)
    kept = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
    trainer.advance(max_steps=7)

    assert all(tensor.device.type == "cpu" for tensor in snapshot.tensors.values())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in snapshot.tensors.items())
    assert not torch.equal(snapshot.tensors["W1"], trainer.pack.weights[0].cpu())


def test_a_checkpoint_of_a_gpu_goes_on_on_the_cpu_and_says_so(tiny: Dataset, tmp_path: Path):
    runs = runs_for("sgd")
    gpu = Trainer(CONFIG, runs, tiny, device=CUDA)
    gpu.advance(max_steps=10)
    checkpoint.save(gpu, tmp_path / "c")
    cpu = Trainer(CONFIG, runs, tiny)
    notes = checkpoint.restore(cpu, tmp_path / "c")
    ends = [[row[3] for row in rows(t.advance()) if row[1] == "test_loss"] for t in (gpu, cpu)]

    assert any("device cuda, now cpu" in note for note in notes)
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


# Measurements


def test_probes_agree_with_the_cpu(tiny: Dataset):
    config = replace(CONFIG, steps=6, probes=Probes(tuple(PROBES), interval=3, examples=16))
    both = [
        Trainer(config, runs_for("sgd"), tiny, device=device, dtype=torch.float64) for device in ("cpu", CUDA)
    ]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert [row[:3] for row in cpu] == [row[:3] for row in gpu]
    assert [row[3] for row in gpu] == pytest.approx([row[3] for row in cpu], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_pack_takes_no_more_memory_than_predicted(digits: Dataset, precision: str):
    """With graph, evaluations and calibration, but without the libraries' workspaces (32 MiB per stream)."""
    config = PackConfig(
        "digits", 3, 512, "gelu", 512, steps=8, evaluation_interval=4, weights="none", precision=precision
    )
    runs = [RunConfig(preset("ip-llr", 3), 0.01, seed, Calibration()) for seed in range(16)]
    Trainer(replace(config, width=8), runs[:1], digits, device=CUDA).advance()
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    Trainer(config, runs, digits, device=CUDA).advance()
    taken = torch.cuda.max_memory_allocated() - before

    assert taken <= pack_memory_bytes(config, digits.info, len(runs)) + (96 << 20)


def test_a_profile_of_the_device_is_measured(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        profile = measure("cuda")

    assert profile.memory_bytes == torch.cuda.get_device_properties(0).total_memory
    assert 1e-7 < profile.launch_seconds < 1e-3
    assert DEFAULT_GPU.rate / 100 < profile.rate < DEFAULT_GPU.rate * 100
    assert not caplog.records
