"""Limits and deferred weights on a CUDA device, if torch finds one (`pytest -m cuda`, `tests/gpu.sh`)."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ipcore.config import Calibration, OptimizerSettings, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.limits.cost import cost
from ipcore.limits.trainer import LimitTrainer, trainer_of
from ipcore.theory import preset
from ipcore.training import checkpoint

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CUDA = torch.device("cuda")
CALIBRATION = Calibration(0.1)


def case(name: str, L: int, width: int, **more) -> tuple[PackConfig, RunConfig]:
    """A pack for digits in batches of 32, and its run."""
    run = {key: more.pop(key) for key in ("calibration", "settings") if key in more}
    more.setdefault("infinite_width", not more.get("deferred", False))
    config = {"activation": "relu", "batch_size": 32, "steps": 10, "evaluation_interval": 5, "replicas": 2}
    pack = PackConfig("digits", L, width, weights="none", metrics_interval=1, **config | more)
    return pack, RunConfig(preset(name, L), 0.03, 0, **run)


CASES = {
    "ip-llr": case("ip-llr", 3, 2048, calibration=CALIBRATION),
    "ip-llr, matrices formed": case("ip-llr", 3, 192, calibration=CALIBRATION),
    "hp with momentum": case(
        "hp",
        3,
        1024,
        optimizer="momentum",
        calibration=CALIBRATION,
        settings=OptimizerSettings(weight_decay=0.1),
    ),
    "hpz, gelu": case("hpz", 2, 1024, activation="gelu", validation_size=200),
    "mean field": case("mup", 1, 1024, loss="mse"),
    "ntk": case("ntk", 3, 64, optimizer="momentum"),
    "ntk, tanh": case("ntk", 2, 64, activation="tanh"),
    "deferred mup": case("mup", 3, 768, deferred=True),
    "deferred hp": case("hp", 3, 512, deferred=True, optimizer="momentum", calibration=CALIBRATION),
}


@pytest.fixture(params=CASES)
def of(request: pytest.FixtureRequest) -> tuple[PackConfig, RunConfig]:
    return CASES[request.param]


def rows(*slices):
    return [row for part in slices for row in part.points.rows()]


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 5e-3), (torch.float64, 1e-7)])
def test_numbers_are_those_of_the_cpu(of, digits: Dataset, dtype: torch.dtype, close: float):
    config, run = of
    if config.deferred:
        # A direction of 1e-12 of an input is still a direction of its own, and scaled up with its rounding.
        close = max(close, 1e-4)
    both = [LimitTrainer(config, [run], digits, device=device, dtype=dtype) for device in ("cpu", CUDA)]
    cpu, gpu = (rows(trainer.advance()) for trainer in both)

    assert [row[:3] for row in gpu] == [row[:3] for row in cpu]
    losses = [[row[3] for row in part if row[1] in ("train_loss", "test_loss")] for part in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=close)
    for position, rates in both[0].calibrated_rates.items():
        assert both[1].calibrated_rates[position] == pytest.approx(rates, rel=close)
    f, g = (trainer.outputs(0).cpu().double() for trainer in both)
    assert torch.linalg.norm(g - f) <= close * torch.linalg.norm(f)


def test_training_is_on_the_device(of, digits: Dataset):
    trainer = trainer_of(of[0], [of[1]], digits, device=CUDA)
    assert isinstance(trainer, LimitTrainer)
    trainer.advance(max_steps=2)

    assert trainer.outputs(0).device.type == "cuda"
    small = {name for name, tensor in trainer.state().items() if tensor.device.type == "cpu"}
    assert all(trainer.state()[name].numel() <= 16 for name in small), small


@pytest.mark.parametrize("cut", [1, 7])
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(of, digits: Dataset, tmp_path: Path, cut: int):
    config, run = of
    runs = [run, replace(run, seed=5)]

    def build() -> LimitTrainer:
        return LimitTrainer(config, runs, digits, device=CUDA)

    whole, first, second = build(), build(), build()
    expected = rows(whole.advance())
    found = rows(first.advance(max_steps=cut))
    checkpoint.save(first, tmp_path / "c")
    assert checkpoint.restore(second, tmp_path / "c") == ()
    found += rows(second.advance())

    assert sorted(map(str, found)) == sorted(map(str, expected))
    for position in range(len(runs)):
        assert torch.equal(second.outputs(position), whole.outputs(position))


@pytest.mark.parametrize("there", ["cpu", "cuda"])
def test_a_checkpoint_goes_on_on_the_other_device_and_says_so(
    of, digits: Dataset, tmp_path: Path, there: str
):
    config, run = of
    here = LimitTrainer(config, [run], digits, device=there)
    other = LimitTrainer(config, [run], digits, device="cuda" if there == "cpu" else "cpu")
    here.advance(max_steps=6)
    checkpoint.save(here, tmp_path / "c")
    notes = checkpoint.restore(other, tmp_path / "c")
    f, g = ((trainer.advance(), trainer.outputs(0).cpu())[1] for trainer in (here, other))

    assert any(f"device {there}, now {other.device.type}" in note for note in notes)
    assert torch.linalg.norm(g - f) <= 5e-3 * torch.linalg.norm(f)


@pytest.mark.parametrize(
    ("name", "L", "width", "more"),
    [
        ("hpz", 3, 16384, {}),
        ("ip-llr", 2, 16384, {"calibration": CALIBRATION}),
        ("hpz", 2, 1000, {"steps": 34, "optimizer": "momentum"}),
        ("mup", 3, 16384, {"deferred": True, "steps": 4}),
        ("hpz", 3, 16384, {"deferred": True, "steps": 4}),
    ],
)
def test_it_takes_no_more_memory_than_predicted(digits: Dataset, name, L, width, more):
    """Without the libraries' workspaces."""
    config, run = case(name, L, width, **more)
    LimitTrainer(replace(config, width=64), [run], digits, device=CUDA).advance()
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    LimitTrainer(config, [run], digits, device=CUDA).advance()
    taken = torch.cuda.max_memory_allocated() - before

    assert taken <= 1.2 * cost(config, run, digits.info).memory_bytes + (96 << 20)
