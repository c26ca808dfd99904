"""Slices of any trainer: where they end and what they report, shown on a trainer that trains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.theory import preset
from ipcore.training.recording import Recorder
from ipcore.training.slices import SlicedTrainer

CONFIG = PackConfig("digits", 2, 12, "tanh", batch_size=8, steps=10, weights="none")


class Counting(SlicedTrainer):
    """Counts steps. Run 1 diverges at update 3."""

    def __init__(self, config: PackConfig, dataset: Dataset):
        runs = [RunConfig(preset("mup", 2), 0.1, seed) for seed in (0, 1)]
        super().__init__(
            config, runs, dataset, device="cpu", threads=None, dtype=torch.float32, clock=lambda: 7.5
        )

    def _measure_start(self, recorder: Recorder) -> None:
        recorder.add("test_loss", 0, recorder.now_ms(), np.zeros(2))

    def _train(self, end: int, recorder: Recorder, deadline: float | None) -> None:
        self.step += 1
        recorder.add("train_loss", self.step, recorder.now_ms(), np.full(2, float(self.step)))
        if self.step == 3:
            self._standing.diverge(1, 3)


def test_a_slice_ends_after_max_steps_where_weights_are_due_and_at_the_end(tiny):
    trainer = Counting(replace(CONFIG, weights="every", weights_interval=6), tiny)
    parts = [trainer.advance(max_steps=4) for _ in range(4)]
    assert [(part.first_step, part.last_step) for part in parts] == [(1, 4), (5, 6), (7, 10), (11, 10)]
    assert trainer.finished


def test_without_time_a_slice_is_one_update(tiny):
    trainer = Counting(CONFIG, tiny)
    assert trainer.advance(max_seconds=0.0).last_step == 1
    assert trainer.advance(max_seconds=3600.0).last_step == 10


def test_max_steps_is_at_least_one(tiny):
    with pytest.raises(ValueError, match="max_steps must be at least 1, not 0"):
        Counting(CONFIG, tiny).advance(max_steps=0)


def test_a_slice_names_the_runs_that_diverged_in_it_and_drops_their_later_points(tiny):
    trainer = Counting(CONFIG, tiny)
    first, second = trainer.advance(max_steps=4), trainer.advance()
    assert (first.diverged, second.diverged, trainer.diverged) == ({1: 3}, {}, {1: 3})
    rows = [*first.points.rows(), *second.points.rows()]
    assert [step for run, _, step, _ in rows if run == 1] == [0, 1, 2]
    assert [step for run, _, step, _ in rows if run == 0] == list(range(11))
    assert set(first.points.time_ms.tolist()) == {7500}


def test_a_trainer_whose_runs_are_all_masked_has_finished(tiny):
    trainer = Counting(CONFIG, tiny)
    trainer.advance(max_steps=4)
    with pytest.raises(IndexError, match=r"the pack has positions 0\.\.1, not 2"):
        trainer.stop([0, 2])
    assert not trainer.finished
    trainer.stop([0])
    assert trainer.finished
    assert trainer.advance().last_step == 4
