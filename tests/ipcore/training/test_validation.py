"""Numbers that cannot be trained with are refused by name, also without a service."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore import train
from ipcore.config import Calibration, OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset, Split
from ipcore.errors import ConfigError
from ipcore.theory import custom, preset
from ipcore.training.trainer import Trainer

CONFIG = PackConfig("digits", 2, 12, "relu", batch_size=8, steps=20)
MUP = preset("mup", 2)
RUN = RunConfig(MUP, 0.1, 0)


def problems(tiny: Dataset, config: PackConfig, *runs: RunConfig, dtype=torch.float32) -> list[str]:
    try:
        Trainer(config, runs, tiny, dtype=dtype)
    except ConfigError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    "rate", [1e-50, 1e-37, 1e37, 1e50, 0.0, -0.1, -0.0, math.nan, math.inf, True, "0.1", None, 0.1j, [0.1]]
)
def test_base_rates(tiny: Dataset, rate):
    (problem,) = problems(tiny, CONFIG, RUN, replace(RUN, base_learning_rate=rate))
    assert problem.startswith("runs[1].base_learning_rate: must be")
    assert str(rate) in problem or repr(rate) in problem
    with pytest.raises(ConfigError, match="base_learning_rate"):
        train(CONFIG, replace(RUN, base_learning_rate=rate), tiny)


@pytest.mark.parametrize("rate", [1e-33, 1e-6, 1, np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_base_rates_that_can_be_held(tiny: Dataset, rate):
    assert problems(tiny, CONFIG, replace(RUN, base_learning_rate=rate)) == []


def rates(c: str) -> RunConfig:
    return replace(RUN, parameterization=custom(2, a=["0"] * 3, b=["0"] * 3, c=[c] * 3))


def test_rates_with_their_power_of_the_width(tiny: Dataset):
    """12^33 = 4e35 and 12^36 = 7e38, times .1 / 8."""
    assert problems(tiny, CONFIG, rates("-33"), rates("31")) == []
    small, large = problems(tiny, CONFIG, rates("36"), rates("-36"))
    assert small == (
        "runs[0].parameterization: the rate of layer 1 with 2 hidden layers is 0.0125 * 12^(-36), beyond "
        "what training can hold (1e-36 .. 1e+36): too small"
    )
    assert large.startswith("runs[1].parameterization: the rate of layer 1")
    assert large.endswith("too large")
    # Double precision holds both.
    assert problems(tiny, CONFIG, rates("36"), rates("-36"), dtype=torch.float64) == []
    assert len(problems(tiny, CONFIG, rates("300"), dtype=torch.float64)) == 1


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("step", milestones=(1, 2, 3), decay=1e-13),
        Schedule("step", milestones=(1,), decay=1e-300),
        Schedule("linear", final_fraction=1e-40),
        Schedule("cosine", final_fraction=1e-40),
    ],
)
def test_rates_with_their_schedule(tiny: Dataset, schedule: Schedule):
    (problem,) = problems(tiny, replace(CONFIG, schedule=schedule), RUN)
    assert "at the schedule's least factor" in problem
    assert problem.endswith("too small")
    assert (
        problems(tiny, replace(CONFIG, schedule=replace(schedule, final_fraction=0.0, decay=0.1)), RUN) == []
    )


@pytest.mark.parametrize(
    ("optimizer", "settings", "field"),
    [
        ("sgd", {"weight_decay": math.nan}, "weight_decay: must be at least 0"),
        ("sgd", {"weight_decay": 11.0}, "weight_decay: 11.0 times the base learning rate 0.1"),
        ("sgd", {"weight_decay": True}, "weight_decay: must be a real number"),
        ("adamw", {"weight_decay": 1e300}, "weight_decay: 1e+300 times"),
        ("momentum", {"momentum": 1 - 1e-8}, "momentum: must be at most"),
        ("momentum", {"momentum": math.nan}, "momentum: must be at least 0"),
        ("adam", {"beta1": 1 - 1e-17}, "beta1: must be at least 0 and less than 1"),
        ("adam", {"beta2": math.nan}, "beta2"),
        ("adam", {"epsilon": 1e-60}, "epsilon: must be 0 or a number that training can hold"),
        ("adam", {"epsilon": math.inf}, "epsilon"),
        ("adam", {"epsilon": "1e-8"}, "epsilon: must be a real number, not '1e-8'"),
    ],
)
def test_settings(tiny: Dataset, optimizer: str, settings: dict, field: str):
    run = RunConfig(preset("mup", 2, optimizer=optimizer), 0.1, 0, settings=OptimizerSettings(**settings))
    (problem,) = problems(tiny, replace(CONFIG, optimizer=optimizer), run)
    assert problem.startswith(f"runs[0].settings.{field}")


def test_settings_at_their_ends(tiny: Dataset):
    for optimizer, chosen in (
        ("sgd", {"weight_decay": 10.0}),
        ("momentum", {"momentum": 0.999}),
        ("adam", {"beta1": 0.0, "beta2": 1 - 1e-9, "epsilon": 0.0}),
    ):
        run = RunConfig(preset("mup", 2, optimizer=optimizer), 0.1, 0, settings=OptimizerSettings(**chosen))
        assert problems(tiny, replace(CONFIG, optimizer=optimizer), run) == []


@pytest.mark.parametrize(
    ("calibration", "field"),
    [
        (Calibration(cap=1e-50), "cap: must be a finite number above 0"),
        (Calibration(cap=math.nan), "cap"),
        (Calibration(cap=1e36), "cap: the largest calibrated rate of layer 2"),
        (Calibration(readout_target=0.0), "readout_target"),
        (Calibration(readout_target=True), "readout_target: must be a real number"),
    ],
)
def test_calibration(tiny: Dataset, calibration: Calibration, field: str):
    run = replace(rates("-1"), calibration=calibration)
    (problem,) = problems(tiny, CONFIG, run)
    assert problem.startswith(f"runs[0].calibration.{field}")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": 20.0}, "steps: must be a whole number, not 20.0"),
        ({"steps": True}, "steps: must be a whole number, not True"),
        ({"width": "12"}, "width: must be a whole number, not '12'"),
        ({"batch_size": None}, "batch_size"),
        ({"schedule": Schedule("linear", final_fraction=math.nan)}, "schedule.final_fraction"),
        ({"schedule": Schedule("linear", warmup_steps=1.5)}, "schedule.warmup_steps: must be a whole number"),
        (
            {"schedule": Schedule("step", milestones=(3,), decay="0.1")},
            "schedule.decay: must be a real number",
        ),
    ],
)
def test_packs(tiny: Dataset, changes: dict, field: str):
    found = problems(tiny, replace(CONFIG, **changes), RUN)
    assert [problem for problem in found if problem.startswith(field)]


@pytest.mark.parametrize("seed", [0.5, "0", True, -1, 2**32])
def test_seeds(tiny: Dataset, seed):
    (problem,) = problems(tiny, CONFIG, replace(RUN, seed=seed))
    assert problem.startswith("runs[0].seed: must")


def test_numpys_numbers_train_as_pythons_do(tiny: Dataset):
    def trained(kind, real, settings: OptimizerSettings) -> Trainer:
        schedule = Schedule("step", warmup_steps=kind(1), milestones=(kind(2), kind(3)), decay=real(0.5))
        numbers = {"hidden_layers": kind(2), "width": kind(12), "batch_size": kind(8), "steps": kind(5)}
        config = replace(CONFIG, **numbers, schedule=schedule, optimizer="momentum")
        trainer = Trainer(config, [RunConfig(MUP, real(0.125), kind(200), settings=settings)], tiny)
        trainer.advance()
        return trainer

    expected = trained(int, float, OptimizerSettings(momentum=0.5, weight_decay=0.25))
    found = trained(np.uint8, np.float32, OptimizerSettings(np.float32(0.5), weight_decay=np.float16(0.25)))
    assert found.config == expected.config and type(found.config.width) is int
    assert type(found.config.schedule.milestones[0]) is int
    assert type(found.runs[0].seed) is int and type(found.runs[0].settings.momentum) is float
    assert all(torch.equal(found.state()[name], tensor) for name, tensor in expected.state().items())


@pytest.mark.parametrize("kind", ["<i4", ">i8", "u1", "<u8", "reversed"])
def test_arrays_of_every_kind_train_alike(tiny: Dataset, kind: str):
    def other(split: Split) -> Split:
        if kind == "reversed":
            return Split(split.inputs[::-1].copy()[::-1], split.labels[::-1].copy()[::-1])
        return Split(split.inputs.astype(">f4"), split.labels.astype(kind))

    states = []
    for dataset in (tiny, Dataset(tiny.name, other(tiny.train), other(tiny.test), tiny.classes)):
        trainer = Trainer(replace(CONFIG, steps=3), [RUN], dataset)
        trainer.advance()
        states.append(trainer.state())
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def test_a_dataset_without_examples_or_with_one_class(tiny: Dataset):
    empty = Dataset(tiny.name, tiny.train.part(np.arange(0)), tiny.test, tiny.classes)
    assert problems(empty, CONFIG, RUN) == ["dataset: its training set is empty"]
    one = [Split(split.inputs, split.labels * 0) for split in (tiny.train, tiny.test)]
    (problem,) = problems(Dataset(tiny.name, *one, classes=1), CONFIG, RUN)
    assert problem.startswith("loss: 'cross_entropy' needs at least 2 classes, but 'digits' has 1")


def test_what_is_no_parameterization_and_no_format(tiny: Dataset):
    assert problems(tiny, CONFIG, replace(RUN, parameterization="mup")) == [
        "runs[0].parameterization: is not a Parameterization; use ipcore.preset"
    ]
    for dtype in (torch.bfloat16, torch.float16, torch.int64):
        (problem,) = problems(tiny, CONFIG, RUN, dtype=dtype)
        assert problem.startswith("dtype: must be torch.float32 or torch.float64")


@pytest.mark.parametrize("value", [1e-60, 1e-37, 1e37, 1e300])
@pytest.mark.parametrize("which", ["train", "test", "targets"])
def test_data_that_single_precision_cannot_hold(value: float, which: str):
    good, column = np.ones((10, 3)), np.ones((10, 3))
    column[:, 1] = value
    targets = np.full((10, 2), value) if which == "targets" else np.ones((10, 2))
    data = Dataset(
        "registered:mine",
        Split(column if which == "train" else good, targets),
        Split(column if which == "test" else good, np.ones((10, 2))),
        0,
    )
    config = replace(CONFIG, dataset="registered:mine", loss="mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = problems(data, config, RUN)
    if which == "test" and 0 < value < 1:
        assert found == []  # they are 0 relative to training inputs of ordinary size
        return
    (problem,) = found
    where = "targets: numbers of column 0, 1" if which == "targets" else "inputs: numbers of column 1"
    assert problem.startswith(f"dataset: {'test' if which == 'test' else 'train'} {where} are")


def test_nan_among_inputs_is_passed_over_and_the_rest_of_the_column_is_not():
    inputs = np.ones((10, 3))
    inputs[:, 1] = 1e-60
    inputs[0] = math.nan
    split = Split(inputs, np.ones((10, 2)))
    (problem,) = Dataset("registered:mine", split, split, 0).problems
    assert problem.startswith("train inputs: numbers of column 1 are all below")
