"""Optimizers of a pack against torch's own, and the effects of width, gauge and phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import Calibration, OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.errors import ConfigError
from ipcore.randomness import epoch_batches
from ipcore.theory import custom, preset, shift
from ipcore.training.trainer import Trainer

M = 12
CONFIG = PackConfig("digits", 2, M, "tanh", batch_size=8, steps=12)
SP = preset("sp", 2, optimizer="adam")


def train(tiny: Dataset, optimizer: str, *runs: RunConfig, **changes) -> Trainer:
    trainer = Trainer(replace(CONFIG, optimizer=optimizer, **changes), runs, tiny, dtype=torch.float64)
    trainer.advance()
    return trainer


def torch_reference(
    tiny: Dataset, run: RunConfig, make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
) -> list[torch.Tensor]:
    """Weights and bias of a network in the standard parameterization after 12 steps of torch."""
    start = Trainer(CONFIG, [run], tiny, dtype=torch.float64).network(0)
    leaves = [tensor.clone().requires_grad_() for tensor in (*start.weights, *start.biases)]
    optimizer = make(leaves)
    for batch in np.concatenate([epoch_batches(run.seed, epoch, 40, 8) for epoch in range(3)])[:12]:
        x, y = torch.from_numpy(tiny.train.inputs[batch]).double(), torch.from_numpy(tiny.train.labels[batch])
        h = torch.tanh(torch.tanh(x @ leaves[0].mT + leaves[3]) @ leaves[1].mT) @ leaves[2].mT
        optimizer.zero_grad()
        functional.cross_entropy(h, y).backward()
        optimizer.step()
    return [leaf.detach() for leaf in leaves]


def check(trainer: Trainer, position: int, expected: list[torch.Tensor]) -> None:
    found = trainer.network(position)
    for one, two in zip((*found.weights, *found.biases), expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)


def test_momentum_is_torchs(tiny: Dataset):
    """Two runs with different settings in one pack."""
    runs = [RunConfig(SP, 0.1, s, settings=OptimizerSettings(momentum=b)) for s, b in ((0, 0.9), (1, 0.5))]
    trainer = train(tiny, "momentum", *runs)
    for position, (run, beta) in enumerate(zip(runs, (0.9, 0.5), strict=True)):
        check(
            trainer,
            position,
            torch_reference(tiny, run, lambda p, b=beta: torch.optim.SGD(p, 0.1, momentum=b)),
        )


def test_adam_is_torchs(tiny: Dataset):
    chosen = [
        OptimizerSettings(),
        OptimizerSettings(beta1=0.5, beta2=0.9, epsilon=1e-3),
        OptimizerSettings(beta1=0.0, beta2=0.0, epsilon=0.1),
    ]
    runs = [RunConfig(SP, 0.01, seed, settings=s) for seed, s in enumerate(chosen)]
    trainer = train(tiny, "adam", *runs)
    for position, (run, s) in enumerate(zip(runs, chosen, strict=True)):

        def adam(p: list[torch.Tensor], s: OptimizerSettings = s) -> torch.optim.Optimizer:
            return torch.optim.Adam(p, 0.01, betas=(s.beta1, s.beta2), eps=s.epsilon)

        check(trainer, position, torch_reference(tiny, run, adam))


def test_adamw_is_torchs_with_decay_of_matrices_alone(tiny: Dataset):
    run = RunConfig(SP, 0.01, 0, settings=OptimizerSettings(weight_decay=0.3))

    def adamw(p: list[torch.Tensor]) -> torch.optim.Optimizer:
        groups = [{"params": p[:3], "weight_decay": 0.3}, {"params": p[3:], "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, 0.01)

    check(train(tiny, "adamw", run), 0, torch_reference(tiny, run, adamw))


def test_decay_shrinks_by_the_base_rate_at_any_width_and_layer(tiny: Dataset):
    """With rates too small to learn, 12 updates multiply matrices by (1 - eta lambda)^12, but not biases."""
    still = custom(2, a=["0", "1", "1"], b=["0"] * 3, c=["99"] * 3)
    run = RunConfig(still, 0.1, 0, settings=OptimizerSettings(weight_decay=0.5))
    start = Trainer(CONFIG, [run], tiny, dtype=torch.float64).network(0)
    for optimizer in ("sgd", "momentum", "adamw", "signum", "lion", "muon"):
        end = train(tiny, optimizer, run).network(0)
        for one, two in zip(end.weights, start.weights, strict=True):
            assert torch.allclose(one, two * 0.95**12, rtol=1e-10)
        assert torch.allclose(end.biases[0], start.biases[0], rtol=1e-12)


def test_a_schedule_multiplies_rates_and_decay(tiny: Dataset):
    """Factors 1/3, 2/3, 1, 1/2, 0 of warm-up and linear fall over 5 steps."""
    still = custom(2, a=["0", "1", "1"], b=["0"] * 3, c=["99"] * 3)
    run = RunConfig(still, 0.1, 0, settings=OptimizerSettings(weight_decay=1.0))
    schedule = Schedule("linear", warmup_steps=2)
    trainer = train(tiny, "sgd", run, steps=5, schedule=schedule)
    initial = Trainer(CONFIG, [run], tiny, dtype=torch.float64).network(0).weights[1]
    kept = (1 - 0.1 / 3) * (1 - 0.2 / 3) * (1 - 0.1) * (1 - 0.05)
    assert torch.allclose(trainer.network(0).weights[1], initial * kept, rtol=1e-10)
    learning = RunConfig(preset("mup", 2), 0.1, 0)
    rates = Trainer(replace(CONFIG, steps=5, schedule=schedule), [learning], tiny)._rates
    first_layer = [rates.at(step).weights[0].item() for step in range(5)]
    assert [rate / first_layer[2] for rate in first_layer] == pytest.approx([1 / 3, 2 / 3, 1, 1 / 2, 0])


def test_the_large_first_step_is_scheduled_too(tiny: Dataset):
    """One warm-up step halves the first update, and so the change of the weights."""
    runs = [RunConfig(preset("ip-llr", 2), 0.1, 0)]
    plain, half = (
        Trainer(replace(CONFIG, schedule=Schedule(warmup_steps=w)), runs, tiny, dtype=torch.float64)
        for w in (0, 1)
    )
    start = plain.pack.weights[1].clone()
    for trainer in (plain, half):
        trainer.advance(max_steps=1)
    assert torch.allclose((plain.pack.weights[1] - start) / 2, half.pack.weights[1] - start, rtol=1e-9)


def test_momentum_does_not_replay_the_large_first_step(tiny: Dataset):
    """v holds raw gradients: W_2 - W_1 = -eta m^{-c(1)-2a} (beta g_0 + g_1), with c(1) of the later phase."""
    eta, beta = 0.1, 0.9
    p = preset("ip-llr", 2)
    run = RunConfig(p, eta, 0, settings=OptimizerSettings(momentum=beta))

    def states(optimizer: str) -> list[list[torch.Tensor]]:
        trainer = Trainer(replace(CONFIG, optimizer=optimizer), [run], tiny, dtype=torch.float64)
        found = [[weight[0].clone() for weight in trainer.pack.weights]]
        for _ in range(2):
            trainer.advance(max_steps=1)
            found.append([weight[0].clone() for weight in trainer.pack.weights])
        return found

    plain, momentum = states("sgd"), states("momentum")
    for layer, (first, later, a) in enumerate(zip((1.5, 2, 1.5), (1, 2, 1), (0, 1, 1), strict=True)):
        # The first update is that of plain descent, so the next gradient is the same too.
        assert torch.allclose(momentum[1][layer], plain[1][layer], rtol=1e-12)
        g_0 = (plain[1][layer] - plain[0][layer]) / (-eta * M ** (first - 2 * a))
        g_1 = (plain[2][layer] - plain[1][layer]) / (-eta * M ** (later - 2 * a))
        expected = -eta * M ** (later - 2 * a) * (beta * g_0 + g_1)
        assert torch.allclose(momentum[2][layer] - momentum[1][layer], expected, rtol=1e-7, atol=1e-12)


def test_calibration_means_the_same_with_momentum(tiny: Dataset):
    run = RunConfig(preset("ip-llr", 2), 0.1, 0, Calibration())
    one, two = (
        Trainer(replace(CONFIG, optimizer=name), [run], tiny, dtype=torch.float64)
        for name in ("sgd", "momentum")
    )
    assert one.calibrated_rates == two.calibrated_rates
    for trainer in (one, two):
        trainer.advance(max_steps=1)
    assert all(
        torch.allclose(a, b, rtol=1e-12) for a, b in zip(one.pack.weights, two.pack.weights, strict=True)
    )


# Gauges (T4)


exponents = st.lists(st.fractions(-2, 2, max_denominator=2), min_size=3, max_size=3)
DECAY = OptimizerSettings(weight_decay=0.2)
CASES = {
    "sgd": ("sgd", preset("ip-llr", 2), OptimizerSettings()),
    "sgd with decay": ("sgd", preset("mup", 2), DECAY),
    "momentum": ("momentum", preset("ip-llr", 2), DECAY),
    "re-weighted": ("momentum", preset("hp", 2), OptimizerSettings()),
    "with a mean": ("sgd", preset("ip-non-centered", 2), OptimizerSettings()),
    "adam without epsilon": ("adam", preset("mup", 2), OptimizerSettings(epsilon=0.0)),
    "adam with epsilon scaled": ("adam", preset("ip", 2, optimizer="adam"), OptimizerSettings(epsilon=0.1)),
    "adamw": ("adamw", preset("mup", 2, optimizer="adam"), replace(DECAY, epsilon=1e-3)),
    "lion": ("lion", preset("mup", 2, optimizer="lion"), DECAY),
    "muon": ("muon", preset("ip", 2, optimizer="muon"), DECAY),
}


@pytest.mark.parametrize("case", CASES)
@given(by=exponents)
@settings(max_examples=6, deadline=None)
def test_two_gauges_train_the_same(tiny: Dataset, case: str, by: list[Fraction]):
    """(a + t, b - t, c - 2t) for gradient descent; (a + t, b - t, c - t, d + t) for Adam: one network."""
    optimizer, p, chosen = CASES[case]
    moved = shift(p, by, optimizer=optimizer)
    runs = [RunConfig(q, 0.05, 0, settings=chosen) for q in (p, moved)]
    trainer = train(tiny, optimizer, *runs)
    one, two = trainer.pack.infer(torch.from_numpy(tiny.test.inputs).double())
    assert torch.allclose(one, two, rtol=1e-7, atol=1e-10)
    assert torch.allclose(trainer.pack.weights[1][0], trainer.pack.weights[1][1], rtol=1e-7, atol=1e-10)


def test_epsilon_that_is_not_scaled_depends_on_the_gauge(tiny: Dataset):
    """The test above can fail: if d is not shifted, the same shift gives another network."""
    p = preset("mup", 2)
    moved = shift(p, ["1", "1", "1"], optimizer="adam")
    runs = [RunConfig(q, 0.05, 0, settings=OptimizerSettings(epsilon=0.1)) for q in (p, moved)]
    one, two = train(tiny, "adam", *runs).pack.infer(torch.from_numpy(tiny.test.inputs).double())
    assert not torch.allclose(one, two, rtol=1e-2)


# Epsilon


def test_epsilon_exponents_in_w(tiny: Dataset):
    """One step on w itself by hand: w - eta m^{-c} g_w / (|g_w| + eps m^{-d}), for IP's exponents at step 0.

    IP with Adam at L = 2: c = 0, d = 3/2, 2, 3/2; g_w from the raw gradient of the first step with SGD.
    """
    p = preset("ip", 2, optimizer="adam")
    run = RunConfig(p, 0.01, 0, settings=OptimizerSettings(epsilon=0.3))
    trainer = Trainer(replace(CONFIG, optimizer="adam"), [run], tiny, dtype=torch.float64)
    raw = Trainer(
        CONFIG, [RunConfig(custom(2, a=p.a, b=p.b, c=["0"] * 3), 1.0, 0)], tiny, dtype=torch.float64
    )
    before = trainer.network(0).weights
    gradients = [old - new for old, new in zip(before, _after_one(raw).weights, strict=True)]
    for old, new, g, d in zip(before, _after_one(trainer).weights, gradients, (1.5, 2, 1.5), strict=True):
        assert torch.allclose(new, old - 0.01 * g / (g.abs() + 0.3 * M**-d), rtol=1e-8)


@pytest.mark.parametrize("name", ["ip", "mup", "sp"])
def test_adam_on_w_itself_where_epsilon_changes(tiny: Dataset, name: str):
    """Four updates of w with epsilon m^{-d_l(t)}; IP's d falls after step 0, and its moments continue."""
    p, eta, epsilon, b1, b2 = preset(name, 2, optimizer="adam"), 0.01, 0.3, 0.9, 0.999
    run = RunConfig(p, eta, 0, settings=OptimizerSettings(epsilon=epsilon))
    trainer = Trainer(replace(CONFIG, optimizer="adam", bias="none"), [run], tiny, dtype=torch.float64)
    w = [weight.requires_grad_() for weight in trainer.network(0).weights]
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in w]
    for t, batch in enumerate(epoch_batches(0, 0, 40, 8)[:4]):
        x, y = torch.from_numpy(tiny.train.inputs[batch]).double(), torch.from_numpy(tiny.train.labels[batch])
        one, two, three = (M ** -float(a) * weight for a, weight in zip(p.a, w, strict=True))
        loss = functional.cross_entropy(torch.tanh(torch.tanh(x @ one.mT) @ two.mT) @ three.mT, y)
        gradients = torch.autograd.grad(loss, w)
        phase = p.phase_at(t)
        for i, (g, (mean, square)) in enumerate(zip(gradients, moments, strict=True)):
            mean.lerp_(g, 1 - b1)
            square.lerp_(g.square(), 1 - b2)
            mhat, vhat = mean / (1 - b1 ** (t + 1)), square / (1 - b2 ** (t + 1))
            step = mhat / (vhat.sqrt() + epsilon * M ** -float(phase.d[i]))
            w[i] = (w[i] - eta * M ** -float(phase.c[i]) * step).detach().requires_grad_()
    trainer.advance(max_steps=4)
    for found, expected in zip(trainer.network(0).weights, w, strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


def _after_one(trainer: Trainer):
    trainer.advance(max_steps=1)
    return trainer.network(0)


def test_no_gradient_and_no_epsilon_is_no_update(tiny: Dataset):
    """ReLU units that are dead on every example have gradient 0; 0/0 = 0."""
    run = RunConfig(SP, 0.01, 0, settings=OptimizerSettings(epsilon=0.0))
    config = replace(CONFIG, optimizer="adam", activation="relu")
    trainer = Trainer(config, [run], tiny)
    trainer.pack.biases[0][0, 0, 0] = -1e6
    dead = trainer.pack.weights[0][0, 0].clone()
    trainer.advance()
    assert torch.equal(trainer.pack.weights[0][0, 0], dead)
    assert trainer.diverged == {}


@pytest.mark.parametrize("depth", [12, 20])
def test_gradients_that_vanish_with_the_width_have_squares_in_single_precision(tiny: Dataset, depth: int):
    """IP, m = 256, L = 20: gradients of W^l are of order m^{-21/2} ~ 1e-25; their squares underflow.

    With the faithful d of the step the moments are of order 1, and single precision agrees with double.
    """
    p = preset("ip", depth, optimizer="adam")
    config = PackConfig("digits", depth, 256, "relu", batch_size=8, steps=1, optimizer="adam")
    one, two = (
        Trainer(config, [RunConfig(p, 0.01, 0)], tiny, dtype=t) for t in (torch.float32, torch.float64)
    )
    starts = [weight.clone() for weight in two.pack.weights]
    for trainer in (one, two):
        trainer.advance()
    for start, a, b in zip(starts, one.pack.weights, two.pack.weights, strict=True):
        update = b - start
        assert update.abs().max() > 0
        assert ((a.double() - b).norm() / update.norm()).item() < 1e-4


def test_scales_beyond_the_number_format_are_refused(tiny: Dataset):
    p = custom(2, a=["0"] * 3, b=["0"] * 3, c=["0"] * 3, d=["99"] * 3)
    with pytest.raises(ConfigError, match=r"runs\[0\]\.parameterization: m\^\(d-a\)"):
        Trainer(replace(CONFIG, optimizer="adam"), [RunConfig(p, 0.1, 0)], tiny)


# Packs, checkpoints, errors


WITH_STATE = [name for name in OPTIMIZERS if name != "sgd"]


def mixed(optimizer: str) -> list[RunConfig]:
    names = ("mup", "sp", "ip") if OPTIMIZERS[optimizer].entrywise else ("mup", "ip-llr", "ip-bias", "hp")
    decay = 0.0 if optimizer == "adam" else 0.1
    return [
        RunConfig(
            preset(name, 2, optimizer=optimizer),
            0.05,
            seed,
            settings=OptimizerSettings(
                momentum=0.5 + 0.1 * seed,
                beta1=0.8,
                epsilon=1e-4,
                weight_decay=decay * seed,
                newton_schulz_steps=5 - seed,
            ),
        )
        for seed, name in enumerate(names)
    ]


@pytest.mark.parametrize("optimizer", WITH_STATE)
def test_alone_and_in_a_pack_they_agree(tiny: Dataset, optimizer: str):
    runs = mixed(optimizer)
    together = train(tiny, optimizer, *runs)
    for position, run in enumerate(runs):
        alone = train(tiny, optimizer, run).network(0)
        for a, b in zip(together.network(position).weights, alone.weights, strict=True):
            assert torch.allclose(a, b, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("optimizer", WITH_STATE)
@pytest.mark.parametrize("cut", [1, 2, 7])
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    tiny: Dataset, tmp_path: Path, optimizer: str, cut: int
):
    pytest.importorskip("safetensors")
    from ipcore.training import checkpoint

    config = replace(CONFIG, optimizer=optimizer, schedule=Schedule("cosine", warmup_steps=3))
    whole, first, second = (Trainer(config, mixed(optimizer), tiny, threads=1) for _ in range(3))
    whole.advance()
    first.advance(max_steps=cut)
    checkpoint.save(first, tmp_path / "c")
    assert checkpoint.restore(second, tmp_path / "c") == ()
    second.advance()
    for one, two in zip(whole._trained().values(), second._trained().values(), strict=True):
        assert torch.equal(one, two)


def test_a_checkpoint_of_other_settings_is_refused(tiny: Dataset, tmp_path: Path):
    pytest.importorskip("safetensors")
    from ipcore.errors import CheckpointError
    from ipcore.training import checkpoint

    run = mixed("momentum")[0]
    checkpoint.save(train(tiny, "momentum", run), tmp_path / "c")
    other = replace(run, settings=OptimizerSettings(momentum=0.1))
    with pytest.raises(CheckpointError, match="another pack"):
        checkpoint.restore(train(tiny, "momentum", other), tmp_path / "c")


@pytest.mark.parametrize("optimizer", WITH_STATE)
def test_a_stopped_run_learns_nothing_more(tiny: Dataset, optimizer: str):
    trainer = Trainer(replace(CONFIG, optimizer=optimizer), mixed(optimizer), tiny)
    trainer.advance(max_steps=3)
    before = trainer.network(1).weights
    trainer.stop([1])
    trainer.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network(1).weights, strict=True))


@pytest.mark.parametrize(
    ("optimizer", "settings", "field"),
    [
        ("momentum", {"momentum": 1.0}, "momentum"),
        ("adam", {"beta1": -0.1}, "beta1"),
        ("adamw", {"beta2": 1.0}, "beta2"),
        ("adam", {"epsilon": -1e-8}, "epsilon"),
        ("sgd", {"weight_decay": -1.0}, "weight_decay"),
        ("signum", {"momentum": 1.0}, "momentum"),
        ("lion", {"beta2": 1.0}, "beta2"),
        ("muon", {"newton_schulz_steps": 0}, "newton_schulz_steps"),
        ("muon-rms", {"newton_schulz_steps": 17}, "newton_schulz_steps"),
        ("adam", {"weight_decay": 0.1}, "weight_decay: .*adamw"),
    ],
)
def test_settings_out_of_range_are_refused(tiny: Dataset, optimizer: str, settings: dict, field: str):
    run = RunConfig(SP, 0.1, 0, settings=OptimizerSettings(**settings))
    with pytest.raises(ConfigError, match=rf"runs\[0\]\.settings\.{field}"):
        Trainer(replace(CONFIG, optimizer=optimizer), [run], tiny)
