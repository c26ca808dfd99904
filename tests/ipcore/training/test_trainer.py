from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore import evaluate
from ipcore.catalogue import OPTIMIZERS
from ipcore.config import Calibration, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset, Split
from ipcore.errors import ConfigError
from ipcore.theory import Parameterization, custom, preset
from ipcore.training.recording import Points, weights_due
from ipcore.training.slices import Slice
from ipcore.training.trainer import Trainer

CONFIG = PackConfig(
    "digits", 2, 12, "tanh", batch_size=8, steps=23, metrics_interval=5, evaluation_interval=10
)
MUP = preset("mup", 2)


def run(seed: int = 0, eta: float = 0.1, p: Parameterization = MUP, **more) -> RunConfig:
    return RunConfig(p, eta, seed, **more)


def train(trainer: Trainer, **limits) -> list[Slice]:
    slices = []
    while not trainer.finished:
        slices.append(trainer.advance(**limits))
    return slices


def rows(slices: list[Slice]) -> list[tuple[int, str, int, float]]:
    return [row for part in slices for row in part.points.rows()]


def steps_of(points: Points, metric: int, position: int = 0) -> list[int]:
    return points.step[(points.metric == metric) & (points.run == position)].tolist()


# Recording


def test_metrics_are_recorded_at_the_steps_promised(tiny: Dataset):
    (part,) = train(Trainer(CONFIG, [run()], tiny))
    for metric, expected in enumerate([[1, 5, 10, 15, 20, 23]] * 2 + [[0, 10, 20, 23]] * 2):
        assert steps_of(part.points, metric) == expected
    assert (part.first_step, part.last_step) == (1, 23)


def test_interval_zero_evaluates_only_the_ends(tiny: Dataset):
    (part,) = train(Trainer(replace(CONFIG, evaluation_interval=0), [run()], tiny))
    assert steps_of(part.points, 2) == [0, 23]


def test_training_metrics_are_those_of_the_batch_before_the_update(tiny: Dataset):
    """At step 1, the loss of the initial network on the first batch of (seed, epoch 0)."""
    from ipcore.randomness import epoch_batches

    trainer = Trainer(CONFIG, [run(seed=4)], tiny)
    initial = trainer.network(0)
    part = trainer.advance(max_steps=1)
    batch = epoch_batches(4, 0, 40, 8)[0]
    expected = evaluate(initial, Split(tiny.train.inputs[batch], tiny.train.labels[batch]))
    found = {metric: value for _, metric, step, value in part.points.rows() if step == 1}
    assert found["train_loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["train_accuracy"] == pytest.approx(expected.accuracy)


def test_test_metrics_are_those_of_the_public_evaluation(tiny: Dataset):
    trainer = Trainer(CONFIG, [run(0), run(1)], tiny)
    at_start = evaluate(trainer.network(1), tiny.test)
    found = rows([trainer.advance(max_steps=10)])
    at_10 = evaluate(trainer.network(1), tiny.test)
    found += rows(train(trainer))
    at_end = evaluate(trainer.network(1), tiny.test)
    values = {(metric, step): value for position, metric, step, value in found if position == 1}
    for step, expected in ((0, at_start), (10, at_10)):
        assert values["test_loss", step] == pytest.approx(expected.loss, rel=1e-6)
        assert values["test_accuracy", step] == pytest.approx(expected.accuracy)
    # The final ones exactly, since reloaded weights must reproduce them.
    assert values["test_loss", 23] == at_end.loss
    assert values["test_accuracy", 23] == at_end.accuracy


def test_times_come_from_the_clock_in_milliseconds(tiny: Dataset):
    trainer = Trainer(CONFIG, [run()], tiny, clock=lambda: 12.3456)
    assert set(trainer.advance(max_steps=5).points.time_ms.tolist()) == {12345}


def test_advance_stops_where_weights_are_due(tiny: Dataset):
    config = replace(CONFIG, weights="every", weights_interval=7)
    trainer = Trainer(config, [run()], tiny)
    assert [part.last_step for part in train(trainer)] == [7, 14, 21, 23]
    assert [weights_due(config, step) for step in (0, 1, 7, 21, 23)] == [
        "initial",
        None,
        "step-00000007",
        "step-00000021",
        "final",
    ]
    ends = replace(CONFIG, weights="initial_and_final")
    assert [weights_due(ends, step) for step in (0, 7, 23)] == ["initial", None, "final"]
    assert weights_due(replace(CONFIG, weights="none"), 23) is None


def test_a_time_limit_ends_a_slice_after_at_least_one_update(tiny: Dataset):
    trainer = Trainer(CONFIG, [run()], tiny)
    assert trainer.advance(max_seconds=0.0).last_step == 1
    assert len(train(trainer, max_seconds=0.0)) == 22
    nothing = trainer.advance()
    assert (nothing.first_step, nothing.last_step, len(nothing.points)) == (24, 23, 0)


# Packs and runs


def test_a_run_alone_and_in_a_pack_agree(tiny: Dataset):
    runs = [
        run(s, eta, preset(name, 2)) for s in (0, 1) for eta in (0.1, 0.5) for name in ("mup", "sp", "ip")
    ]
    together = Trainer(CONFIG, runs, tiny)
    train(together)
    for position, one in enumerate(runs):
        alone = Trainer(CONFIG, [one], tiny)
        train(alone)
        for a, b in zip(together.network(position).weights, alone.network(0).weights, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_same_seed_means_the_same_normals_and_batches(tiny: Dataset):
    """muP and IP at one seed start from the same w (b = 0 in both) and see the same first batch."""
    trainer = Trainer(CONFIG, [run(3), run(3, p=preset("ip", 2)), run(4)], tiny, dtype=torch.float64)
    mup, ip, other = (trainer.network(position) for position in range(3))
    for a, b, c in zip(mup.weights, ip.weights, other.weights, strict=True):
        assert torch.allclose(a, b, rtol=1e-14)
        assert not torch.allclose(a, c)
    trainer.advance(max_steps=1)
    assert torch.equal(trainer.pack.labels[0], trainer.pack.labels[1])
    assert not torch.equal(trainer.pack.labels[0], trainer.pack.labels[2])


def test_initial_standard_deviations(tiny: Dataset):
    """ReLU: s^2 = 2. SP has b = 1/2 above the first layer; d = 5 and a bias."""
    m = 400
    config = PackConfig("digits", 2, m, "relu", batch_size=8, steps=1)
    first, hidden, last = Trainer(config, [run(p=preset("sp", 2))], tiny).network(0).weights
    assert first.std().item() == pytest.approx((2 / 6) ** 0.5, rel=0.05)
    assert hidden.std().item() == pytest.approx((2 / m) ** 0.5, rel=0.02)
    assert last.std().item() == pytest.approx((1 / m) ** 0.5, rel=0.1)
    biased = Trainer(config, [run(p=preset("sp", 2))], tiny).network(0)
    assert biased.biases[0].std().item() == pytest.approx(2**0.5, rel=0.15)
    bare = Trainer(replace(config, bias="none"), [run(p=preset("sp", 2))], tiny).network(0)
    assert bare.biases == ()
    assert bare.weights[0].std().item() == pytest.approx((2 / 5) ** 0.5, rel=0.05)


def test_large_first_rates_hold_for_one_step_only(tiny: Dataset):
    """IP-LLR differs from naive IP only in step 0: from the state after it, both train alike."""
    trainer = Trainer(CONFIG, [run(p=preset("ip-llr", 2)), run(p=preset("ip", 2))], tiny, dtype=torch.float64)
    trainer.advance(max_steps=1)
    assert not torch.allclose(trainer.pack.weights[0][0], trainer.pack.weights[0][1])
    for weight in trainer.pack.weights:
        weight[1].copy_(weight[0])
    trainer.pack.biases[0][1].copy_(trainer.pack.biases[0][0])
    train(trainer)
    for weight in trainer.pack.weights:
        assert torch.allclose(weight[0], weight[1], rtol=1e-12)


def test_w_itself_follows_sgd_with_the_rates_of_its_gauge(tiny: Dataset):
    """One step against autograd on w with W = m^{-a} w, for IP-LLR at m = 12, L = 2."""
    p = preset("ip-llr", 2)
    trainer = Trainer(CONFIG, [run(p=p, eta=0.3)], tiny, dtype=torch.float64)
    network = trainer.network(0)
    w = [weight.requires_grad_() for weight in network.weights]
    beta = network.biases[0].requires_grad_()
    trainer.advance(max_steps=1)
    from ipcore.randomness import epoch_batches

    batch = epoch_batches(0, 0, 40, 8)[0]
    x, y = torch.from_numpy(tiny.train.inputs[batch]).double(), torch.from_numpy(tiny.train.labels[batch])
    h = torch.tanh(x @ w[0].mT + beta)  # a_1 = 0
    h = torch.tanh(h @ (w[1] / 12).mT)  # a_2 = 1
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(h @ (w[2] / 12).mT, y), [*w, beta])
    # c at step 0: -(L+1)/2, -(L+2)/2, -(L+1)/2
    for new, old, gradient, c in zip(
        [*trainer.network(0).weights, *trainer.network(0).biases],
        [*w, beta],
        gradients,
        (1.5, 2, 1.5, 1.5),
        strict=True,
    ):
        assert torch.allclose(new, old - 0.3 * 12**c * gradient, rtol=1e-9, atol=1e-12)


# Divergence and stopping


# ReLU: activations without a bound, so that absurd rates end in infinities.
RELU = replace(CONFIG, activation="relu")


def exploding() -> RunConfig:
    return run(p=custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["-2"] * 3), eta=10.0)


def test_a_diverged_run_is_reported_and_leaves_the_others_alone(tiny: Dataset):
    runs = [run(0), exploding(), run(1)]
    trainer = Trainer(RELU, runs, tiny, threads=1)
    slices = train(trainer, max_steps=4)
    found = [part.diverged for part in slices if part.diverged]
    assert len(found) == 1
    assert list(found[0]) == [1]
    step = found[0][1]
    assert trainer.diverged == {1: step}
    recorded = [(s, value) for position, _, s, value in rows(slices) if position == 1]
    assert recorded
    assert all(s < step and np.isfinite(value) for s, value in recorded)
    # The same composition of the pack with a second run that does not diverge: the others have the same bits.
    calm = Trainer(RELU, [runs[0], run(0, 1e-3), runs[2]], tiny, threads=1)
    expected = rows(train(calm))
    assert [r for r in rows(slices) if r[0] != 1] == [r for r in expected if r[0] != 1]


def test_when_all_have_diverged_training_ends_early(tiny: Dataset):
    trainer = Trainer(replace(RELU, steps=2_000), [exploding()], tiny)
    part = trainer.advance()
    assert trainer.finished
    assert part.last_step < 1000
    assert list(part.diverged) == [0]


def test_divergence_is_found_at_the_same_step_whatever_the_slices(tiny: Dataset):
    found = {
        tuple(
            step
            for part in train(Trainer(RELU, [exploding(), run()], tiny), max_steps=n)
            for step in part.diverged.values()
        )
        for n in (1, 3, 23)
    }
    assert len(found) == 1


def test_a_loss_that_is_not_finite_at_the_end_is_divergence(tiny: Dataset):
    """The loss of the only update is finite; the weights after it are not."""
    config = replace(RELU, steps=1)
    trainer = Trainer(
        config, [run(p=custom(2, a=["0"] * 3, b=["0"] * 3, c=["-20"] * 3), eta=1.0), run()], tiny
    )
    part = trainer.advance()
    assert part.diverged == {0: 1}
    assert {step for position, _, step, _ in part.points.rows() if position == 0} == {0}
    assert {step for position, _, step, _ in part.points.rows() if position == 1} == {0, 1}


def test_a_stopped_run_learns_and_records_nothing_more(tiny: Dataset):
    trainer = Trainer(CONFIG, [run(0), run(1)], tiny, threads=1)
    slices = [trainer.advance(max_steps=6)]
    before = trainer.network(0).weights
    trainer.stop([0])
    slices += train(trainer)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network(0).weights, strict=True))
    assert max(step for position, _, step, _ in rows(slices) if position == 0) == 5
    whole = Trainer(CONFIG, [run(0), run(1)], tiny, threads=1)
    assert [r for r in rows(train(whole)) if r[0] == 1] == [r for r in rows(slices) if r[0] == 1]


def test_a_run_with_absurd_rates_can_be_stopped_before_it_diverges(tiny: Dataset):
    trainer = Trainer(RELU, [exploding(), run()], tiny)
    trainer.advance(max_steps=1)
    trainer.stop([0])
    (part,) = train(trainer)
    assert part.diverged == {}
    assert {position for position, *_ in part.points.rows()} == {1}


def test_stopping_all_runs_finishes(tiny: Dataset):
    trainer = Trainer(CONFIG, [run(0), run(1)], tiny)
    trainer.stop([0, 1])
    assert trainer.finished
    assert len(trainer.advance().points) == 0
    with pytest.raises(IndexError, match=r"0\.\.1"):
        trainer.stop([2])


# Errors


def test_every_problem_is_named_at_once(tiny: Dataset):
    config = replace(CONFIG, activation="rellu", width=0, steps=0, batch_size=41, dataset="mnist")
    with pytest.raises(ConfigError) as caught:
        Trainer(config, [run(eta=float("nan")), run(p=preset("sp", 3)), run(seed=-1)], tiny)
    text = str(caught.value)
    for part in (
        "did you mean 'relu'", "width: must be at least 1", "steps:", "batch_size: 41", "dataset:",
        "runs[0].base_learning_rate", "runs[1].parameterization", "runs[2].seed",
    ):  # fmt: skip
        assert part in text
    assert len(caught.value.problems) == 8
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_labels_that_do_not_fit_are_refused(tiny: Dataset):
    with pytest.raises(ConfigError, match=r"not in 0\.\.1"):
        Trainer(CONFIG, [run()], replace(tiny, classes=2))


def test_rates_beyond_the_number_format_are_refused(tiny: Dataset):
    with pytest.raises(ConfigError, match=r"runs\[0\]\.parameterization"):
        Trainer(CONFIG, [run(p=custom(2, a=["0"] * 3, b=["0"] * 3, c=["-99"] * 3))], tiny)
    with pytest.raises(ConfigError, match="too large"):
        Trainer(CONFIG, [run(p=custom(2, a=["0"] * 3, b=["0"] * 3, c=["-999"] * 3))], tiny)


def test_a_pack_needs_runs(tiny: Dataset):
    with pytest.raises(ConfigError, match="at least one run"):
        Trainer(CONFIG, [], tiny)


# Predictions of theory, on real images


def test_naive_ip_stays_and_calibrated_ip_llr_learns(digits: Dataset):
    config = PackConfig("digits", 4, 128, "tanh", batch_size=64, steps=150)
    runs = [
        RunConfig(preset("ip", 4), 0.1, 0),
        RunConfig(preset("ip-llr", 4), 0.1, 0, Calibration()),
        RunConfig(preset("mup", 4), 1.0, 0),
    ]
    (part,) = train(Trainer(config, runs, digits))
    loss = {(position, step): v for position, metric, step, v in part.points.rows() if metric == "test_loss"}
    assert abs(loss[0, 150] - np.log(10)) < 1e-3
    assert abs(loss[0, 150] - loss[0, 0]) < 1e-3
    assert loss[1, 150] < 1.0
    assert loss[2, 150] < 1.0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_gpu_trains_as_the_cpu_does(tiny: Dataset, optimizer: str):
    runs = [run(s, p=preset(name, 2, optimizer=optimizer)) for s, name in enumerate(("mup", "sp", "ip"))]
    if optimizer in ("sgd", "momentum"):
        runs += [run(1, p=preset("ip-llr", 2), calibration=Calibration())]
        runs += [run(3, p=preset(name, 2)) for name in ("ip-bias", "ip-non-centered", "hp")]
    config = replace(CONFIG, optimizer=optimizer, validation_size=10, schedule=Schedule("linear"))
    trainers = [Trainer(config, runs, tiny, device=device, dtype=torch.float64) for device in ("cpu", "cuda")]
    cpu, gpu = (rows(train(trainer, max_seconds=60.0)) for trainer in trainers)
    assert [row[:3] for row in cpu] == [row[:3] for row in gpu]
    assert [row[3] for row in gpu] == pytest.approx([row[3] for row in cpu], rel=1e-6)
