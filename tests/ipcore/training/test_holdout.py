"""The validation split, losses with other labels, and their metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore import evaluate
from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.errors import ConfigError
from ipcore.theory import custom, preset
from ipcore.training.holdout import split_training
from ipcore.training.trainer import Trainer

CONFIG = PackConfig(
    "digits",
    2,
    12,
    "tanh",
    batch_size=8,
    steps=23,
    metrics_interval=5,
    evaluation_interval=10,
    validation_size=15,
)
RUNS = [RunConfig(preset("mup", 2), 0.1, 0), RunConfig(preset("ip", 2), 0.1, 1)]


def values(trainer: Trainer) -> dict[tuple[int, str, int], float]:
    found = {}
    while not trainer.finished:
        found |= {row[:3]: row[3] for row in trainer.advance(max_steps=10).points.rows()}
    return found


def test_the_parts_are_disjoint_complete_and_the_same_for_everybody(tiny: Dataset):
    train, validation = split_training(tiny, 15)
    assert validation is not None
    rows = {tuple(row) for row in train.inputs}, {tuple(row) for row in validation.inputs}
    assert rows[0] | rows[1] == {tuple(row) for row in tiny.train.inputs}
    assert (len(rows[0]), len(rows[1]), len(train), len(validation)) == (25, 15, 25, 15)
    again = split_training(tiny, 15)[1]
    assert again is not None
    assert np.array_equal(validation.inputs, again.inputs)
    assert np.array_equal(validation.labels, again.labels)
    # A larger set contains a smaller one; another dataset of that size is divided in another way.
    larger = split_training(tiny, 20)[1]
    other = split_training(replace(tiny, name="mnist"), 15)[1]
    assert larger is not None
    assert other is not None
    assert np.array_equal(larger.inputs[:15], validation.inputs)
    assert not np.array_equal(other.inputs, validation.inputs)


def test_without_validation_the_training_set_is_the_same_object(tiny: Dataset):
    assert split_training(tiny, 0) == (tiny.train, None)


def test_validation_metrics_stand_beside_the_test_metrics(tiny: Dataset):
    trainer = Trainer(CONFIG, RUNS, tiny)
    found = values(trainer)
    validation = split_training(tiny, 15)[1]
    assert validation is not None
    for name in ("validation_loss", "validation_accuracy", "test_loss"):
        assert sorted(step for run, metric, step in found if (run, metric) == (1, name)) == [0, 10, 20, 23]
    # The final value equals that of the public evaluation.
    end = evaluate(trainer.network(0), validation)
    assert found[0, "validation_loss", 23] == end.loss
    assert found[0, "validation_accuracy", 23] == end.accuracy
    start = evaluate(Trainer(CONFIG, RUNS, tiny).network(0), validation)
    assert found[0, "validation_loss", 0] == pytest.approx(start.loss, rel=1e-6)


def test_what_is_held_out_is_never_trained_on(tiny: Dataset):
    """With NaN in every held-out input, training losses stay finite, but the validation loss does not."""
    validation = split_training(tiny, 15)[1]
    assert validation is not None
    held = {tuple(row) for row in validation.inputs}
    inputs = tiny.train.inputs.copy()
    inputs[[tuple(row) in held for row in inputs]] = np.nan
    poisoned = replace(tiny, train=Split(inputs, tiny.train.labels))
    found = values(Trainer(CONFIG, RUNS, poisoned))
    clean = values(Trainer(CONFIG, RUNS, tiny))
    assert {key: value for key, value in clean.items() if key[1].startswith("train") and key[2] < 23} == {
        key: value for key, value in found.items() if key[1].startswith("train") and key[2] < 23
    }
    assert not any(name.startswith("validation_l") for _, name, _ in found)
    calibrated = replace(RUNS[1], calibration=Calibration())
    one, two = (Trainer(CONFIG, [calibrated], data).calibrated_rates for data in (tiny, poisoned))
    assert one == two


def test_training_on_the_rest_is_training_on_that_dataset(tiny: Dataset):
    train, _ = split_training(tiny, 15)
    plain = Trainer(replace(CONFIG, validation_size=0), RUNS, replace(tiny, train=train))
    held = Trainer(CONFIG, RUNS, tiny)
    one, two = values(plain), values(held)
    assert {key: value for key, value in two.items() if not key[1].startswith("validation")} == one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_size": 40}, "validation_size: must leave some of the 40"),
        ({"validation_size": -1}, "validation_size: must be at least 0"),
        (
            {"validation_size": 35},
            "batch_size: 8 is more than the 5 training examples outside the validation set",
        ),
        ({"loss": "logistic"}, "loss: 'logistic' needs exactly 2 classes"),
        ({"loss": "hinge"}, "loss: unknown loss 'hinge'"),
        ({"optimizer": "adma"}, "did you mean 'adam'"),
    ],
)
def test_what_does_not_fit_is_named(tiny: Dataset, changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Trainer(replace(CONFIG, **changes), RUNS, tiny)


# Other labels


def two_classes(tiny: Dataset) -> Dataset:
    splits = [Split(s.inputs, (s.labels > 0).astype(np.int64)) for s in (tiny.train, tiny.test)]
    return Dataset("digits", *splits, classes=2)


def targets(tiny: Dataset) -> Dataset:
    splits = [Split(s.inputs, np.sin(s.inputs[:, :2])) for s in (tiny.train, tiny.test)]
    return Dataset("digits", *splits, classes=0)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_one_output_for_two_classes(tiny: Dataset, loss: str):
    data = two_classes(tiny)
    trainer = Trainer(replace(CONFIG, loss=loss, steps=200), [RunConfig(preset("mup", 2), 0.2, 0)], data)
    found = values(trainer)
    assert trainer.network(0).output_dim == 1
    assert found[0, "train_loss", 200] < 0.5 * found[0, "train_loss", 1]
    outputs = trainer.network(0).forward(torch.from_numpy(data.test.inputs))[:, 0]
    right = ((outputs > 0).numpy() == data.test.labels.astype(bool)).mean()
    assert found[0, "test_accuracy", 200] == pytest.approx(right)
    assert evaluate(trainer.network(0), data.test).accuracy == right


def test_real_targets_have_a_loss_and_no_accuracy(tiny: Dataset):
    data = targets(tiny)
    config = replace(CONFIG, loss="mse", steps=200)
    trainer = Trainer(config, [RunConfig(preset("mup", 2), 0.1, 0)], data, dtype=torch.float64)
    found = values(trainer)
    assert {name for _, name, _ in found} == {"train_loss", "test_loss", "validation_loss"}
    assert found[0, "test_loss", 200] < 0.5 * found[0, "test_loss", 0]
    result = evaluate(trainer.network(0), data.test)
    assert result.accuracy is None
    f = trainer.network(0).forward(torch.from_numpy(data.test.inputs).double()).numpy()
    assert result.loss == pytest.approx((((f - data.test.labels) ** 2).sum(axis=1) / 2).mean())
    with pytest.raises(ConfigError, match="real-valued targets"):
        Trainer(CONFIG, RUNS, data)


def test_squares_of_one_hot_labels(tiny: Dataset):
    """Initial networks of weights 0: f = 0, so the loss is 1/2 and the prediction class 0."""
    still = custom(2, a=["9"] * 3, b=["0"] * 3, c=["0"] * 3)
    found = values(Trainer(replace(CONFIG, loss="mse"), [RunConfig(still, 1e-9, 0)], tiny))
    assert found[0, "test_loss", 0] == pytest.approx(0.5, abs=1e-6)


def test_a_validation_loss_that_is_not_finite_at_the_end_is_divergence(tiny: Dataset):
    validation = split_training(tiny, 15)[1]
    assert validation is not None
    held = {tuple(row) for row in validation.inputs}
    inputs = tiny.train.inputs.copy()
    inputs[[tuple(row) in held for row in inputs]] = np.inf
    data = replace(tiny, train=Split(inputs, tiny.train.labels))
    part = Trainer(replace(CONFIG, activation="relu"), RUNS, data).advance()
    assert part.diverged == {0: 23, 1: 23}
