from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.engine.engine import PackShape
from ipcore.engine.pack import Pack
from ipcore.engine.rates import Rates
from ipcore.models import Architecture, Mlp
from ipcore.randomness import calibration_batches
from ipcore.theory import preset
from ipcore.training.calibration import calibrate
from ipcore.training.trainer import Trainer


def test_values_worked_out_by_hand():
    """One input, one neuron per layer, two classes, ReLU, no bias; L = 2.

    W^1 = 2, W^2 = 3, W^3 = (1, 0)^T. First batch x = 1, label 0: h^1 = 2, h^2 = 6, f = (6, 0),
    p_0 = 1/(1 + e^-6) and with q = 1 - p_0: df = (-q, q), dh^2 = -q, dh^1 = -3q.
    Updates of base rate 1, all factors 1: dW^1 = 3q, dW^2 = 2q, dW^3 = (6q, -6q).
    Second batch x = 2, first rate 1/q: h^1 = (2 + 3) 2 = 10. Layer 2: |dW^2 x^1| = 20 q, rate 1/(20q);
    h^2 = 3*10 + 1 = 31. Readout: mean |dW^3 x^2| = 6q*31, rate 1/(186 q).
    """
    pack = Pack(
        PackShape(1, Architecture(Mlp(), 2, 1, 1, 2), 1, 0),
        "relu",
        "cross_entropy",
        torch.float64,
        torch.device("cpu"),
    )
    for weight, values in zip(pack.weights, ([2.0], [3.0], [1.0, 0.0]), strict=True):
        weight.copy_(torch.tensor(values).view_as(weight))
    q = 1 - 1 / (1 + math.exp(-6))
    one, two = torch.tensor([[1.0]]).double(), torch.tensor([[2.0]]).double()

    def rates(**settings: float) -> tuple[float, ...]:
        (found,) = calibrate(
            pack,
            first=(one, torch.tensor([0])),
            second=two,
            base_rates=[1 / q],
            factors=[(1.0, 1.0, 1.0)],
            settings=[Calibration(**settings)],
            biased=[False],
        )
        return found

    assert rates() == pytest.approx((1 / q, 1 / (20 * q), 1 / (186 * q)), rel=1e-10)
    # Another readout target changes only the last rate. A cap lowers the returned rates, not those with which
    # the layers above are measured, and never the user's own rate.
    assert rates(readout_target=0.1) == pytest.approx((1 / q, 1 / (20 * q), 0.1 / (186 * q)), rel=1e-10)
    assert rates(cap=10.0) == pytest.approx((1 / q, 10.0, 1 / (186 * q)), rel=1e-10)
    assert pack.weights[1].item() == 3.0


def test_the_bias_counts_as_an_input():
    """With x = (x', 1) and the bias as a last column, a network without bias gives the same rates."""
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    with_bias = Pack(
        PackShape(2, Architecture(Mlp(), 2, 4, 3, 2), 5, 1), "tanh", "cross_entropy", torch.float64, cpu
    )
    without = Pack(
        PackShape(2, Architecture(Mlp(), 2, 4, 4, 2), 5, 0), "tanh", "cross_entropy", torch.float64, cpu
    )
    for weight in without.weights:
        weight.normal_()
    with_bias.weights[0].copy_(without.weights[0][:, :, :3])
    with_bias.biases[0].copy_(without.weights[0][:, :, 3].unsqueeze(1))
    for one, two in zip(with_bias.weights[1:], without.weights[1:], strict=True):
        one.copy_(two)
    x1, x2 = torch.randn(2, 5, 3).double()
    ones = torch.ones(5, 1).double()
    common = {
        "base_rates": [0.1, 0.2],
        "factors": [(1.0, 2.0, 3.0)] * 2,
        "settings": [Calibration(), Calibration(0.1, 5.0)],
    }
    labels = torch.tensor([0, 1, 0, 1, 1])
    found = calibrate(with_bias, first=(x1, labels), second=x2, biased=[True, True], **common)
    padded = calibrate(
        without,
        first=(torch.cat([x1, ones], 1), labels),
        second=torch.cat([x2, ones], 1),
        biased=[False, False],
        **common,
    )
    assert found[0] == pytest.approx(padded[0], rel=1e-10)
    assert found[1] == pytest.approx(padded[1], rel=1e-10)


def test_dead_units_get_the_cap():
    pack = Pack(
        PackShape(1, Architecture(Mlp(), 1, 1, 1, 2), 1, 0),
        "relu",
        "cross_entropy",
        torch.float64,
        torch.device("cpu"),
    )
    pack.weights[0].fill_(-1.0)
    pack.weights[1].fill_(1.0)
    x = torch.ones(1, 1).double()
    (found,) = calibrate(
        pack,
        first=(x, torch.tensor([0])),
        second=x,
        base_rates=[0.5],
        factors=[(1.0, 1.0)],
        settings=[Calibration(cap=7.0)],
        biased=[False],
    )
    assert found == (0.5, 7.0)


@pytest.fixture
def config() -> PackConfig:
    return PackConfig("digits", 3, 16, "tanh", batch_size=8, steps=3)


def test_an_effect_beyond_the_number_format_gets_the_cap(tiny: Dataset, config: PackConfig):
    """With a rate of target / inf = 0 the run would not move; with the cap it diverges visibly."""
    squares = replace(config, activation="relu^2", hidden_layers=2, steps=2)
    run = RunConfig(preset("ip-llr", 2), 1e25, 0, Calibration(cap=50.0))
    trainer = Trainer(squares, [run], tiny)
    assert trainer.calibrated_rates[0] == (1e25, 50.0, 50.0)
    trainer.advance()
    assert trainer.diverged == {0: 2}


def test_first_update_with_the_rates_found_has_the_size_asked_for(tiny: Dataset, config: PackConfig):
    """One step on the first batch changes the output of each W^l on the second batch by 1 on average."""
    run = RunConfig(preset("ip-llr", 3), 0.1, seed=5, calibration=Calibration(readout_target=0.5, cap=1e12))
    one, two = calibration_batches(40, 8)
    # A training set whose only batch is the first calibration batch.
    only = Dataset("digits", Split(tiny.train.inputs[one], tiny.train.labels[one]), tiny.test, 3)
    calibrated = Trainer(config, [run], tiny, dtype=torch.float64)
    trainer = Trainer(config, [RunConfig(run.parameterization, 0.1, 5)], only, dtype=torch.float64)
    trainer._rates = Rates(config, trainer.runs, calibrated.calibrated_rates, trainer.pack)
    before = [weight[0].clone() for weight in trainer.pack.weights]
    bias = trainer.pack.biases[0][0].clone()
    trainer.advance(max_steps=1)
    x = torch.from_numpy(tiny.train.inputs[two]).double()
    for layer, (old, new) in enumerate(zip(before, trainer.pack.weights, strict=True)):
        effect = (x @ (new[0] - old).mT).abs().mean().item()
        if layer > 0:
            assert effect == pytest.approx(0.5 if layer == 3 else 1.0, rel=1e-9)
        x = torch.tanh(x @ new[0].mT + (trainer.pack.biases[0][0] if layer == 0 else 0))
    assert not torch.equal(bias, trainer.pack.biases[0][0])


def test_only_runs_that_ask_are_calibrated_and_only_for_step_0(tiny: Dataset, config: PackConfig):
    p = preset("ip-llr", 3)
    runs = [RunConfig(p, 0.1, 1), RunConfig(p, 0.1, 1, Calibration())]
    trainer = Trainer(config, runs, tiny)
    assert list(trainer.calibrated_rates) == [1]
    rates = trainer.calibrated_rates[1]
    assert len(rates) == 4
    assert rates[0] == 0.1
    first, later = (torch.cat(trainer._rates.at(step).weights, dim=1).squeeze(-1) for step in (0, 1))
    assert (first[1] / first[0]).tolist() == pytest.approx([rate / 0.1 for rate in rates])
    assert later[1].tolist() == pytest.approx(later[0].tolist())


def test_rates_of_a_run_do_not_depend_on_its_pack(tiny: Dataset, config: PackConfig):
    runs = [RunConfig(preset("ip-llr", 3), eta, seed, Calibration()) for eta in (0.1, 1.0) for seed in (1, 2)]
    together = Trainer(config, runs, tiny, dtype=torch.float64).calibrated_rates
    for position, run in enumerate(runs):
        alone = Trainer(config, [run], tiny, dtype=torch.float64).calibrated_rates[0]
        assert together[position] == pytest.approx(alone, rel=1e-9)
