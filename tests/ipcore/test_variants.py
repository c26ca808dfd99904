"""Parameterizations beyond a, b, c: biases in every layer, weights with a mean, re-weighted matrices."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from ipcore import evaluate
from ipcore.config import Calibration, OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.errors import ConfigError
from ipcore.randomness import bias_normals, epoch_batches, weight_normals
from ipcore.theory import Biases, Parameterization, RatePhase, Reweighting, preset
from ipcore.training.trainer import Trainer

M = 12
CONFIG = PackConfig(
    "digits", 2, M, "relu", batch_size=8, steps=23, metrics_interval=5, evaluation_interval=10
)
NAMES = ("mup", "sp", "ip-llr", "ip-bias", "ip-non-centered", "hp", "hpz", "up:1/3")


def runs_of(*names: str, depth: int = 2) -> list[RunConfig]:
    return [RunConfig(preset(name, depth), 0.1, 3) for name in names]


def make(tiny: Dataset, *names: str, **changes) -> Trainer:
    return Trainer(replace(CONFIG, **changes), runs_of(*names), tiny, dtype=torch.float64)


# Initial weights


def test_weights_with_a_mean(tiny: Dataset):
    """w^l = 1 + s z for l >= 2, so W^l = m^{-1} (1 + s z); the first layer is centred."""
    trainer = make(tiny, "ip-non-centered", "ip")
    with_mean, centred = trainer.network(0).weights, trainer.network(1).weights
    assert torch.equal(with_mean[0], centred[0])
    for layer in (1, 2):
        assert torch.allclose(with_mean[layer], centred[layer] + 1, rtol=1e-12)
    assert torch.allclose(trainer.pack.weights[1][0] * M, with_mean[1], rtol=1e-12)


def test_biases_of_every_layer(tiny: Dataset):
    """Not multiplied by any power of m: s z, with s = sqrt(2) for ReLU and 1 at the readout."""
    network = make(tiny, "ip-bias").network(0)
    assert [tuple(bias.shape) for bias in network.biases] == [(M,), (M,), (3,)]
    for layer, (bias, s) in enumerate(zip(network.biases, (2**0.5, 2**0.5, 1), strict=True), start=1):
        assert torch.allclose(bias, torch.from_numpy(bias_normals(3, layer, len(bias))) * s, rtol=1e-12)


def test_biases_of_their_own_do_not_depend_on_the_first_layers_choice(tiny: Dataset):
    """Biases are part of the parameterization; with bias "none" the other runs of the pack have none."""
    with_first, without = (make(tiny, "ip-bias", "mup", bias=bias) for bias in ("first", "none"))
    one, two = with_first.network(0), without.network(0)
    assert all(
        torch.equal(a, b) for a, b in zip(one.weights + one.biases, two.weights + two.biases, strict=True)
    )
    assert len(with_first.network(1).biases) == 1
    assert without.network(1).biases == ()
    without.advance()
    assert without.network(1).biases == ()
    assert all(not bias[1].any() for bias in without.pack.biases)
    # The bias counts as an input where there is one: sqrt(2 / (5 + 1)), else sqrt(2 / 5).
    z = torch.from_numpy(weight_normals(3, 1, (M, 5)))
    start = make(tiny, "ip-bias", "mup", bias="none")
    assert torch.allclose(start.network(0).weights[0], z * (2 / 6) ** 0.5, rtol=1e-12)
    assert torch.allclose(start.network(1).weights[0], z * (2 / 5) ** 0.5, rtol=1e-12)


# Updates


def test_ip_bias_follows_sgd_with_rates_of_its_own(tiny: Dataset):
    """One step against autograd on w and the biases, L = 2: c = -3/2, -2, -1; of the biases -3/2, -1, 0."""
    trainer = make(tiny, "ip-bias")
    network = trainer.network(0)
    w = [weight.requires_grad_() for weight in network.weights]
    beta = [bias.requires_grad_() for bias in network.biases]
    batch = epoch_batches(3, 0, 40, 8)[0]
    x, y = torch.from_numpy(tiny.train.inputs[batch]).double(), torch.from_numpy(tiny.train.labels[batch])
    h = torch.relu(x @ w[0].mT + beta[0])
    h = torch.relu(h @ (w[1] / M).mT + beta[1])
    loss = torch.nn.functional.cross_entropy(h @ (w[2] / M).mT + beta[2], y)
    gradients = torch.autograd.grad(loss, [*w, *beta])
    trainer.advance(max_steps=1)
    after = trainer.network(0)
    powers = (1.5, 2, 1, 1.5, 1, 0)
    for new, old, gradient, c in zip(
        after.weights + after.biases, [*w, *beta], gradients, powers, strict=True
    ):
        assert torch.allclose(new, old - 0.1 * M**c * gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "kept"), [("hp", M**-0.5), ("hpz", 0.0)])
def test_initial_hidden_matrices_are_reweighted_after_the_first_update(tiny: Dataset, name: str, kept: float):
    """W_1 = m^{-1/2} (rho w_0 + (w_1 - w_0)) in layer 2 of L = 2; steps before and other layers as muP."""
    trainer = make(tiny, name, "mup")
    for weight in trainer.pack.weights:
        assert torch.equal(weight[0], weight[1])
    w_0 = trainer.network(0).weights[1]
    trainer.advance(max_steps=1)
    first, hidden, last = trainer.pack.weights
    assert torch.equal(first[0], first[1])
    assert torch.equal(last[0], last[1])
    assert torch.allclose(hidden[0], hidden[1] + M**-0.5 * (kept - 1) * w_0, rtol=1e-10)
    # It happens once, not at every step: both train alike from the same state on.
    for tensor in [*trainer.pack.weights, *trainer.pack.biases]:
        tensor[1].copy_(tensor[0])
    trainer.advance()
    assert all(torch.equal(weight[0], weight[1]) for weight in trainer.pack.weights)


def test_reweighting_at_several_steps_counts_from_the_initial_matrix(tiny: Dataset):
    """rho = 1, then m^{-1/2} at step 2, then 0 at step 4; in total all of w_0 is removed."""
    mup = preset("mup", 2)

    def reweighted(*steps: tuple[int, Fraction | None]) -> Parameterization:
        changes = tuple(Reweighting(start, (Fraction(0), k, Fraction(0))) for start, k in steps)
        return Parameterization(mup.a, mup.b, mup.phases, reweightings=changes)

    frozen = tuple(RatePhase(p.start, tuple(c + 99 for c in p.c)) for p in mup.phases)  # nothing is learned
    still = replace(reweighted((2, Fraction(1, 2)), (4, None)), phases=frozen)
    trainer = Trainer(CONFIG, [RunConfig(still, 0.1, 3)], tiny, dtype=torch.float64)
    initial = trainer.pack.weights[1][0].clone()
    found = []
    for _ in range(5):
        trainer.advance(max_steps=1)
        found.append((trainer.pack.weights[1][0] / initial).mean().item())
    assert found == pytest.approx([1, M**-0.5, M**-0.5, 0, 0], abs=1e-12)


def test_reweighting_counts_what_decay_has_left(tiny: Dataset):
    """eta = 0.1, lambda = 2 and f = 1/3, 2/3, 1 leave (14/15)(13/15) w_0 at step 2, which is then removed."""
    mup = preset("mup", 2)
    frozen = tuple(RatePhase(p.start, tuple(c + 99 for c in p.c)) for p in mup.phases)  # nothing is learned
    halved = Reweighting(2, (Fraction(0), Fraction(1, 2), Fraction(0)))
    removed = Reweighting(3, (Fraction(0), None, Fraction(0)))
    still = replace(mup, phases=frozen, reweightings=(halved, removed))
    run = RunConfig(still, 0.1, 3, settings=OptimizerSettings(weight_decay=2.0))
    config = replace(CONFIG, schedule=Schedule(warmup_steps=2))
    trainer = Trainer(config, [run], tiny, dtype=torch.float64)
    initial = trainer.pack.weights[1][0].clone()
    found = []
    for _ in range(3):
        trainer.advance(max_steps=1)
        found.append((trainer.pack.weights[1][0] / initial).mean().item())
    assert found == pytest.approx([14 / 15, 14 / 15 * 13 / 15 * M**-0.5, 0], abs=1e-12)


def test_stopped_runs_keep_their_weights(tiny: Dataset):
    trainer = make(tiny, "hp", "hpz")
    before = [weight[0].clone() for weight in trainer.pack.weights]
    trainer.stop([0])
    trainer.advance(max_steps=3)
    assert all(torch.equal(a, weight[0]) for a, weight in zip(before, trainer.pack.weights, strict=True))


# Packs, files, checkpoints


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_alone_and_in_a_mixed_pack_they_agree(tiny: Dataset, optimizer: str):
    together = make(tiny, *NAMES, optimizer=optimizer)
    together.advance()
    for position, name in enumerate(NAMES):
        alone = make(tiny, name, optimizer=optimizer)
        alone.advance()
        one, two = together.network(position), alone.network(0)
        assert len(one.biases) == len(two.biases)
        for a, b in zip(one.weights + one.biases, two.weights + two.biases, strict=True):
            assert torch.allclose(a, b, rtol=1e-8, atol=1e-12)


def test_a_pack_has_biases_beyond_the_first_layer_only_if_a_run_does(tiny: Dataset):
    assert [len(make(tiny, *names).pack.biases) for names in (("mup", "hp"), ("mup", "ip-bias"))] == [1, 3]


def test_files_give_the_same_numbers_and_the_exact_parameterization(tiny: Dataset, tmp_path: Path):
    pytest.importorskip("safetensors")
    from ipcore import Network

    trainer = Trainer(CONFIG, runs_of(*NAMES), tiny)
    part = trainer.advance()
    final = {(p, name): value for p, name, step, value in part.points.rows() if step == CONFIG.steps}
    for position, name in enumerate(NAMES):
        trainer.network(position).save(tmp_path / "w")
        loaded = Network.load(tmp_path / "w")
        assert loaded.parameterization == preset(name, 2)
        assert evaluate(loaded, tiny.test).loss == final[position, "test_loss"]


@pytest.mark.parametrize("cut", [1, 2, 9])
def test_resumed_training_is_the_uninterrupted_one(tiny: Dataset, tmp_path: Path, cut: int):
    pytest.importorskip("safetensors")
    from ipcore.training import checkpoint

    whole, first, second = (Trainer(CONFIG, runs_of(*NAMES), tiny, threads=1) for _ in range(3))
    whole.advance()
    first.advance(max_steps=cut)
    checkpoint.save(first, tmp_path / "c")
    assert checkpoint.restore(second, tmp_path / "c") == ()
    second.advance()
    for one, two in zip(whole._trained().values(), second._trained().values(), strict=True):
        assert torch.equal(one, two)


# Calibration


def test_runs_beside_own_biases_are_calibrated_as_alone(tiny: Dataset):
    """Also with bias "none", if only the other run has a bias, in its first layer."""
    calibrated = RunConfig(preset("ip-llr", 2), 0.1, 3, Calibration())
    for bias in ("first", "none"):
        config = replace(CONFIG, bias=bias)
        mixed = Trainer(config, [calibrated, *runs_of("ip-bias")], tiny, dtype=torch.float64)
        alone = Trainer(config, [calibrated], tiny, dtype=torch.float64)
        assert mixed.calibrated_rates[0] == pytest.approx(alone.calibrated_rates[0], rel=1e-9)
        for one, two in zip(mixed._rates.at(0).weights, alone._rates.at(0).weights, strict=True):
            assert one[0].item() == pytest.approx(two[0].item(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "optimizer", "message"),
    [
        ("ip-bias", "sgd", "ip-bias"),
        ("ip", "adam", "the size of its rate"),
        ("mup", "adamw", "the size of its rate"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(tiny: Dataset, name: str, optimizer: str, message: str):
    run = RunConfig(preset(name, 2), 0.1, 0, Calibration())
    with pytest.raises(ConfigError, match=rf"runs\[0\]\.calibration: .*{message}"):
        Trainer(replace(CONFIG, optimizer=optimizer), [run], tiny)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu^2", "sin", "abs"])
def test_calibration_works_with_every_loss_and_activation(tiny: Dataset, loss: str, activation: str):
    config = replace(CONFIG, loss=loss, activation=activation, steps=1)
    run = RunConfig(preset("ip-llr", 2), 0.1, 0, Calibration(cap=1e12))
    rates = Trainer(config, [run], tiny, dtype=torch.float64).calibrated_rates[0]
    assert rates[0] == 0.1
    assert all(0 < rate < 1e12 for rate in rates)


def test_biases_with_a_multiplier_of_their_own(tiny: Dataset):
    """The same biases in another gauge (a + 1, b - 1, c - 2) train the same."""
    p = preset("ip-bias", 2)
    own = p.biases
    assert own is not None
    shifted = Biases(
        tuple(a + 1 for a in own.a),
        tuple(b - 1 for b in own.b),
        tuple(RatePhase(q.start, tuple(c - 2 for c in q.c)) for q in own.phases),
    )
    runs = [RunConfig(p, 0.1, 0), RunConfig(replace(p, biases=shifted), 0.1, 0)]
    trainer = Trainer(CONFIG, runs, tiny, dtype=torch.float64)
    trainer.advance()
    one, two = trainer.network(0), trainer.network(1)
    inputs = torch.from_numpy(tiny.test.inputs).double()
    assert torch.allclose(one.forward(inputs), two.forward(inputs), rtol=1e-9)
    assert torch.allclose(two.biases[1], one.biases[1] * M, rtol=1e-9)
