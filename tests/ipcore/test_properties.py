"""Properties of training, for random examples."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.theory import Parameterization, RatePhase, preset
from ipcore.training.slices import Slice
from ipcore.training.trainer import Trainer

CONFIG = PackConfig(
    "digits", 2, 12, "tanh", batch_size=8, steps=23, metrics_interval=5, evaluation_interval=10
)


def train(trainer: Trainer) -> list[Slice]:
    slices = []
    while not trainer.finished:
        slices.append(trainer.advance())
    return slices


def rows(slices: list[Slice]) -> list[tuple[int, str, int, float]]:
    return [row for part in slices for row in part.points.rows()]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_slice_boundaries_change_no_number(tiny: Dataset, sizes: list[int]):
    runs = [RunConfig(preset("mup", 2), 0.1, 0), RunConfig(preset("ip-llr", 2), 0.1, 1, Calibration())]
    whole, cut = (Trainer(CONFIG, runs, tiny, threads=1) for _ in range(2))
    expected = rows(train(whole))
    parts = [cut.advance(max_steps=n) for n in sizes if not cut.finished]
    assert rows(parts + train(cut)) == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.pack.weights, cut.pack.weights, strict=True))


exponents = st.fractions(-1, 1, max_denominator=2)


@given(st.lists(exponents, min_size=3, max_size=3))
@settings(max_examples=10, deadline=None)
def test_a_gauge_shift_changes_no_training(tiny: Dataset, shift: list[Fraction]):
    """(a, b, c) -> (a + t, b - t, c - 2t), per layer, is the same network and the same training under SGD."""
    p = preset("ip-llr", 2)
    shifted = Parameterization(
        tuple(a + t for a, t in zip(p.a, shift, strict=True)),
        tuple(b - t for b, t in zip(p.b, shift, strict=True)),
        tuple(
            RatePhase(q.start, tuple(c - 2 * t for c, t in zip(q.c, shift, strict=True))) for q in p.phases
        ),
    )
    trainer = Trainer(CONFIG, [RunConfig(p, 0.1, 0), RunConfig(shifted, 0.1, 0)], tiny, dtype=torch.float64)
    train(trainer)
    one, two = (trainer.network(position) for position in range(2))
    inputs = torch.from_numpy(tiny.test.inputs).double()
    assert torch.allclose(one.forward(inputs), two.forward(inputs), rtol=1e-9)
    factor = 12.0 ** float(shift[1])
    assert torch.allclose(two.weights[1], one.weights[1] * factor, rtol=1e-9)
