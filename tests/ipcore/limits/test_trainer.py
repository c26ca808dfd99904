"""Limits as runs: recorded, resumed, stopped and refused like any other."""

import dataclasses

import numpy as np
import pytest
import torch

import ipcore
from ipcore.errors import ConfigError
from ipcore.limits.cost import cost
from ipcore.limits.trainer import LimitTrainer, trainer_of
from ipcore.theory import preset
from ipcore.training import checkpoint
from ipcore.training.recording import metric_names


def pack(N=32, phi="relu", L=2, **more):
    more = {"weights": "none", "metrics_interval": 1, "evaluation_interval": 2, "replicas": 2} | more
    more.setdefault("infinite_width", not more.get("deferred", False))
    return ipcore.PackConfig("digits", L, N, phi, 8, 6, **more)


def run(name="hpz", L=2, seed=0, eta=0.2, calibration=None, settings=None, optimizer="sgd"):
    return ipcore.RunConfig(
        preset(name, L, optimizer=optimizer), eta, seed, calibration, settings or ipcore.OptimizerSettings()
    )


KINDS = {
    "hpz": ({}, run("hpz", calibration=ipcore.Calibration(0.1))),
    "ip-llr": ({}, run("ip-llr", calibration=ipcore.Calibration(0.1))),
    "hp with momentum": (
        {"optimizer": "momentum"},
        run("hp", settings=ipcore.OptimizerSettings(weight_decay=0.1)),
    ),
    "mean field": ({"L": 1}, run("mup", 1)),
    "ntk": ({"optimizer": "momentum"}, run("ntk")),
    "deferred": ({"deferred": True}, run("mup", calibration=ipcore.Calibration(0.1))),
    "validation": ({"validation_size": 8, "loss": "mse"}, run("hpz")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_slices_and_resumption_change_no_number(tiny, kind, tmp_path):
    more, one = KINDS[kind]
    runs = [one, dataclasses.replace(one, seed=5)]

    def build():
        return LimitTrainer(pack(**more), runs, tiny)

    whole = build()
    points = list(whole.advance().points.rows())
    first = build()
    rows = [*first.advance(max_steps=1).points.rows(), *first.advance(max_steps=3).points.rows()]
    checkpoint.save(first, tmp_path / "at-4.safetensors")
    rest = list(first.advance().points.rows())
    assert [*rows, *rest] == points
    resumed = build()
    assert checkpoint.restore(resumed, tmp_path / "at-4.safetensors") == ()
    assert resumed.step == 4
    assert list(resumed.advance().points.rows()) == rest
    assert resumed.finished
    assert resumed.calibrated_rates == whole.calibrated_rates
    for position in (0, 1):
        assert torch.equal(resumed.outputs(position), whole.outputs(position))


def test_a_limit_records_what_a_dense_run_records_and_its_own_error(tiny):
    config, one = pack(), run()
    trainer = LimitTrainer(config, [one], tiny)
    points = trainer.advance().points
    dense = ipcore.Trainer(dataclasses.replace(config, infinite_width=False), [one], tiny).advance().points
    recorded = {(metric, step) for _, metric, step, _ in points.rows()}
    assert {(m, s) for _, m, s, _ in dense.rows()} == {pair for pair in recorded if pair[0] != "limit_error"}
    assert {pair for pair in recorded if pair[0] == "limit_error"} == {("limit_error", s) for s in (2, 4, 6)}
    assert points.metrics == metric_names(config)
    values = {(m, s): v for _, m, s, v in points.rows()}
    assert values["test_loss", 0] == pytest.approx(np.log(3), abs=1e-6)


def test_the_error_falls_with_the_particles_and_says_how_far_off_the_average_is(tiny):
    """The root mean square of the error stated, against the distance from many particles."""
    off, stated = {}, {}
    reference = LimitTrainer(pack(N=4000, replicas=8), [run(seed=0)], tiny)
    reference.advance()
    f = reference.outputs(0).mean(dim=0)
    for N in (60, 960):
        errors, known = [], []
        for seed in range(12):
            trainer = LimitTrainer(pack(N=N, replicas=3), [run(seed=seed)], tiny, data_seed=0)
            points = trainer.advance().points
            known.append({(m, s): v for _, m, s, v in points.rows()}["limit_error", 6])
            g = trainer.outputs(0).mean(dim=0)
            errors.append(float(torch.linalg.norm(g - f) / torch.linalg.norm(f)))
        off[N], stated[N] = np.sqrt(np.mean(np.square(errors))), np.sqrt(np.mean(np.square(known)))
    assert off[960] < 0.5 * off[60]
    assert off[960] == pytest.approx(stated[960], rel=0.5)


def test_finite_networks_come_closer_to_it(tiny):
    """HPZ, given the same first rates: the mean square distance falls like 1/m."""
    steps, seeds = 6, 40
    limit = LimitTrainer(pack(N=2000, replicas=4), [run()], tiny, dtype=torch.float64)
    limit.advance()
    f = limit.outputs(0).mean(dim=0)
    inputs = torch.from_numpy(tiny.test.inputs).double()
    squares = {}
    for m in (32, 128):
        config = dataclasses.replace(pack(N=m), infinite_width=False)
        runs = [run(seed=seed) for seed in range(seeds)]
        trainer = ipcore.Trainer(config, runs, tiny, dtype=torch.float64, data_seed=0)
        trainer.advance()
        assert trainer.step == steps
        squares[m] = float((trainer.pack.infer(inputs) - f).square().sum(dim=(1, 2)).mean())
    assert squares[128] < 0.4 * squares[32]


@pytest.mark.parametrize(("name", "L"), [("ip-llr", 2), ("hp", 2)])
def test_networks_with_momentum_come_closer_to_it_too(tiny, name, L):
    """IP-LLR's velocities forget step 0, HP's do not."""
    settings = ipcore.OptimizerSettings(momentum=0.9)
    more = {"optimizer": "momentum", "L": L}
    one = run(name, L, settings=settings, eta=0.3)
    limit = LimitTrainer(pack(N=3000, replicas=4, **more), [one], tiny)
    limit.advance()
    f = limit.outputs(0).mean(dim=0)
    squares = {}
    for m in (64, 2048):
        config = pack(N=m, deferred=True, **more)
        runs = [dataclasses.replace(one, seed=seed) for seed in range(6)]
        trainer = LimitTrainer(config, runs, tiny, data_seed=0)
        trainer.advance()
        found = [trainer.outputs(i)[0] for i in range(6)]
        squares[m] = float(torch.stack([(g - f).square().sum() / f.square().sum() for g in found]).mean())
    assert squares[2048] < squares[64] / 6
    assert squares[2048] < 0.05


def test_stopped_runs_learn_and_record_nothing(tiny):
    trainer = LimitTrainer(pack(), [run(), run(seed=1)], tiny)
    trainer.advance(max_steps=2)
    trainer.stop([1])
    rows = list(trainer.advance().points.rows())
    assert {position for position, *_ in rows} == {0}
    with pytest.raises(IndexError, match=r"positions 0\.\.1"):
        trainer.stop([2])
    trainer.stop([0])
    assert trainer.finished


@pytest.mark.parametrize(
    ("config", "name", "rate"),
    [
        (pack(loss="mse"), "hpz", 1e12),
        (pack(loss="mse", deferred=True), "mup", 1e12),
    ],
)
def test_a_run_that_diverges_leaves_the_others_alone(tiny, config, name, rate):
    trainer = LimitTrainer(config, [run(name, eta=rate), run(name, eta=0.1)], tiny)
    trainer.advance()
    assert set(trainer.diverged) == {0}
    assert trainer.finished
    alone = LimitTrainer(config, [run(name, eta=0.1)], tiny)
    alone.advance()
    assert torch.equal(trainer.outputs(1), alone.outputs(0))


@pytest.mark.parametrize(
    ("config", "one", "says"),
    [
        (pack(), run("mup"), "deferred_weights: always"),
        (pack(optimizer="adam"), run("mup", optimizer="adam"), "with adam no limit"),
        (pack(deferred=True, optimizer="adam"), run("mup", optimizer="adam"), "cannot be deferred with adam"),
        (pack(weights="final"), run(), "no matrices to keep"),
        (pack(phi="gelu"), run("ip-llr"), "hpz"),
        (
            pack(probes=ipcore.Probes(("coordinates",), steps=(1,), examples=8)),
            run(),
            "probes: coordinates cannot be measured at m = infinity",
        ),
        (pack(precision="bf16"), run(), "fp32"),
        (pack(deferred=True, infinite_width=True), run(), "finite widths"),
        (pack(N=0), run(), "width"),
    ],
)
def test_refusals(tiny, config, one, says):
    with pytest.raises(ConfigError, match=says):
        LimitTrainer(config, [one], tiny)


def test_what_is_beyond_memory_is_refused_with_what_fits(tiny):
    need = cost(pack(N=4096), run(), tiny.info).memory_bytes
    LimitTrainer(pack(N=4096), [run()], tiny, memory=need)
    with pytest.raises(ConfigError, match=r"MiB.*particles \(width\) [\d,]+ or 5 updates would fit"):
        LimitTrainer(pack(N=4096), [run()], tiny, memory=need - 1)


def test_each_pack_gets_its_trainer(tiny):
    assert isinstance(trainer_of(pack(), [run()], tiny), LimitTrainer)
    dense = dataclasses.replace(pack(), infinite_width=False)
    assert isinstance(trainer_of(dense, [run()], tiny), ipcore.Trainer)
    with pytest.raises(ConfigError, match="trainer_of"):
        ipcore.Trainer(pack(), [run()], tiny)
    with pytest.raises(ConfigError, match=r"ipcore\.Trainer"):
        LimitTrainer(dense, [run()], tiny)
