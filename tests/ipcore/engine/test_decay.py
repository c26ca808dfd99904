"""Weight decay of every size removes the right amount."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.config import OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset, Split
from ipcore.engine.decay import DecayCursor, decay_factors
from ipcore.engine.schedule import factor
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

SINGLE = torch.finfo(torch.float32).eps
CONFIG = PackConfig("registered:still", 2, 16, "relu", batch_size=2, steps=5000, metrics_interval=5000)


def single(rate: float, steps: int, schedule: Schedule = CONFIG.schedule) -> list[float]:
    config = replace(CONFIG, steps=steps, schedule=schedule)
    return [kept for (kept,) in decay_factors(config, [rate], SINGLE)]


@given(
    st.floats(-11, 0).map(lambda e: 10.0**e),
    st.sampled_from(
        [Schedule(), Schedule("cosine", warmup_steps=3), Schedule("step", milestones=(9,), decay=1e-4)]
    ),
    st.integers(10, 300),
)
@settings(max_examples=40, deadline=None)
def test_the_product_of_all_factors_is_exact_at_the_end_and_nearly_so_before(rate, schedule, steps):
    config = replace(CONFIG, steps=steps, schedule=schedule)
    taken = owed = 0.0
    for step, kept in enumerate(single(rate, steps, schedule)):
        decay = rate * factor(schedule, step, steps)
        if decay == 1:
            return
        owed += math.log1p(-decay)
        taken += math.log(kept)
        # Half a portion of at most 24 u, or the error of a factor rounded to u / 2.
        assert abs(taken - owed) <= 12.5 * SINGLE
    assert taken == pytest.approx(owed, rel=1e-12, abs=steps * 1e-15)
    assert DecayCursor(config, runs([rate]), SINGLE).at(steps - 1) == (pytest.approx(kept, rel=1e-15),)


@given(st.floats(1e-10, 1e-5))
@settings(max_examples=30, deadline=None)
def test_factors_of_small_decay_are_held_exactly(rate):
    for kept in single(rate, 400)[:-1]:
        assert float(np.float32(kept)) == kept


def test_ordinary_decay_is_applied_as_it_is():
    assert single(0.02, 3) == [0.98] * 3
    assert single(2e-5, 3) == [1 - 2e-5] * 3
    config = replace(CONFIG, steps=3)
    double = torch.finfo(torch.float64).eps
    assert list(decay_factors(config, [1e-7], double)) == [[1 - 1e-7]] * 3


def runs(rates: Sequence[float], name: str = "mup", **settings_) -> list[RunConfig]:
    return [
        RunConfig(
            preset(name, 2), 0.01, seed, settings=OptimizerSettings(weight_decay=rate / 0.01, **settings_)
        )
        for seed, rate in enumerate(rates)
    ]


@pytest.fixture(scope="module")
def still() -> Dataset:
    """Inputs and targets are 0, so nothing is learned, and weights change only by decay."""
    split = Split(np.zeros((4, 3), np.float32), np.zeros((4, 1), np.float32))
    return Dataset("registered:still", split, split, 0)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("schedule", [Schedule(), Schedule("linear", warmup_steps=10)])
def test_small_decay_over_thousands_of_updates(still: Dataset, optimizer: str, schedule: Schedule):
    """From 2e-9 to 1e-4 per update. At 2e-8, factors rounded to single precision would remove nothing."""
    rates = [2e-9, 2e-8, 1e-7, 1e-6, 5e-6, 1e-4]
    names = [
        RunConfig(
            preset("mup", 2, optimizer=optimizer), one.base_learning_rate, one.seed, settings=one.settings
        )
        for one in runs(rates)
    ]
    steps = 5000 if (optimizer, schedule) == ("sgd", Schedule()) else 500
    config = replace(
        CONFIG,
        loss="mse",
        bias="none",
        optimizer=optimizer,
        steps=steps,
        metrics_interval=steps,
        schedule=schedule,
    )
    trainer = Trainer(config, names, still)
    before = [weight.double() for weight in trainer.pack.weights]
    trainer.advance()
    for position, rate in enumerate(rates):
        logs = [math.log1p(-rate * factor(schedule, t, steps)) for t in range(steps)]
        expected = math.expm1(math.fsum(logs))
        for old, new in zip(before, trainer.pack.weights, strict=True):
            taken = (new[position].double() - old[position]) / old[position] / expected
            # Half a unit in the last place of a number, relative to the total decay.
            resolution = SINGLE / -expected
            assert taken.mean().item() == pytest.approx(1, abs=0.003 + resolution)
            assert (taken - 1).abs().max().item() < 0.05 + resolution


def test_a_resumed_trainer_takes_the_same_portions(still: Dataset, tmp_path: Path):
    pytest.importorskip("safetensors")
    from ipcore.training import checkpoint

    config = replace(CONFIG, loss="mse", bias="none", steps=300, metrics_interval=300)
    whole, first, second = (Trainer(config, runs([3e-8, 1e-6, 4e-6]), still, threads=1) for _ in range(3))
    whole.advance()
    first.advance(max_steps=101)
    checkpoint.save(first, tmp_path / "c")
    assert checkpoint.restore(second, tmp_path / "c") == ()
    second.advance()
    for one, two in zip(whole._trained().values(), second._trained().values(), strict=True):
        assert torch.equal(one, two)


def test_a_stopped_run_does_not_decay(still: Dataset):
    config = replace(CONFIG, loss="mse", bias="none", steps=50, metrics_interval=50)
    trainer = Trainer(config, runs([1e-6, 0.1]), still)
    before = [weight.clone() for weight in trainer.pack.weights]
    trainer.stop([0, 1])
    trainer._train(50, _recorder(config), None)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.pack.weights, strict=True))


def _recorder(config: PackConfig):
    from ipcore.training.recording import Recorder, metric_names

    return Recorder(metric_names(config))


def test_portions_are_written_into_the_same_tensor(still: Dataset):
    """A step that is replayed on a GPU reads the factor from the same place."""
    config = replace(CONFIG, loss="mse", bias="none", steps=50)
    rates = Trainer(config, runs([1e-6, 1e-8]), still)._rates
    found = [rates.at(step).decay for step in range(50)]
    assert all(one is found[0] for one in found)
    assert [float(np.float32(kept)) for kept in DecayCursor(config, runs([1e-6, 1e-8]), SINGLE).at(49)] == (
        found[0].flatten().tolist()
    )


# What re-weighting removes


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((40, 6)).astype(np.float32)
    split = Split(inputs, rng.integers(0, 3, 40))
    return Dataset("registered:three", split, split, 3)


@pytest.mark.parametrize("decay", [0.0, 1e-7, 3e-6, 0.005, 0.3])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_learned_nothing_are_exactly_zero(
    data: Dataset, optimizer: str, decay: float, dtype: torch.dtype
):
    """HPZ, ReLU, one example per update: units that are dead on it have no gradient in their row of W^2."""
    config = replace(
        CONFIG,
        dataset="registered:three",
        width=32,
        batch_size=1,
        steps=60,
        optimizer=optimizer,
        metrics_interval=60,
    )
    # HPZ, and a run whose initial weights have some weight until step 30, and then none.
    hpz, hp = runs([decay, decay], "hpz")[0], runs([decay, decay], "hp")[1]
    later = hp.parameterization.reweightings[0]
    gone = replace(later, start=30, k=tuple(None if k else k for k in later.k))
    hp = replace(hp, parameterization=replace(hp.parameterization, reweightings=(later, gone)))
    trainer = Trainer(config, [hpz, hp], data, dtype=dtype)
    never = [torch.ones(32, dtype=torch.bool) for _ in range(2)]
    for step in range(1, 61):
        trainer.pack.gather(
            trainer._inputs, trainer._labels, trainer._batches.at(step), trainer._batches.slot
        )
        trainer.pack.forward()
        derivatives = trainer.pack.taps()[1][0]
        for position in (0, 1):
            never[position] &= ~derivatives[position].any(dim=0)
        trainer.advance(max_steps=1)
        for position, start in ((0, 1), (1, 30)):
            if step >= start:
                rows = trainer.pack.weights[1][position][never[position]]
                assert not rows.any()
                assert len(rows) or step > 5
    assert trainer.pack.weights[1].any(dim=2).any(dim=1).all(), "what was learned stays"


@pytest.mark.parametrize("cut", [1, 29, 30, 45])
def test_resumed_between_two_reweightings(data: Dataset, tmp_path: Path, cut: int):
    pytest.importorskip("safetensors")
    from ipcore.training import checkpoint

    config = replace(CONFIG, dataset="registered:three", batch_size=1, steps=60, metrics_interval=60)
    hp = runs([0.01], "hp")[0]
    later = hp.parameterization.reweightings[0]
    gone = replace(later, start=30, k=tuple(None if k else k for k in later.k))
    both = [replace(hp, parameterization=replace(hp.parameterization, reweightings=(later, gone)))]
    both += runs([1e-7], "hpz")
    whole, first, second = (Trainer(config, both, data, threads=1) for _ in range(3))
    whole.advance()
    first.advance(max_steps=cut)
    checkpoint.save(first, tmp_path / "c")
    checkpoint.restore(second, tmp_path / "c")
    second.advance()
    for one, two in zip(whole._trained().values(), second._trained().values(), strict=True):
        assert torch.equal(one, two)


def test_cursors_go_back():
    config = replace(CONFIG, steps=200)
    cursor = DecayCursor(config, runs([1e-6, 0.0, 1e-6, 0.1]), SINGLE)
    ahead = [cursor.at(step) for step in range(200)]
    assert [cursor.at(step) for step in (7, 3, 199, 0)] == [ahead[step] for step in (7, 3, 199, 0)]
    assert all(row[1] == 1.0 and row[0] == row[2] and row[3] == 0.9 for row in ahead)
    assert bool(cursor) and not DecayCursor(config, runs([0.0]), SINGLE)
    assert any(one != two for one, two in pairwise(ahead))
