"""The sketch of outputs: distances by it against exact ones, and the same on every path."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ipcore
from ipcore.engine.autograd import AutogradEngine
from ipcore.limits.trainer import LimitTrainer
from ipcore.probes.outputs import OUTPUTS, SIZE, is_sketch
from ipcore.probes.sketch import Sketch

STEPS = (0, 2, 5)
CONFIG = ipcore.PackConfig(
    "digits", 2, 16, "relu", 8, 5, weights="none", evaluation_interval=3,
    probes=ipcore.Probes(("outputs",), steps=STEPS),
)  # fmt: skip


def sketch(f):
    """Of networks' outputs, (K, n): the mean square (K,) and the sums (K, SIZE)."""
    values = torch.from_numpy(np.atleast_2d(f))
    found = Sketch(values.shape[1]).of([values], len(values))
    return found[:, 0], found[:, 1:]


def test_few_outputs_are_all_kept_but_for_their_signs():
    f = np.array([3.0, -4.0, 0.5])
    mean_square, sums = sketch(f)
    assert mean_square[0] == pytest.approx((9 + 16 + 0.25) / 3)
    assert sorted(np.abs(sums[0][sums[0] != 0]) * 3**0.5) == pytest.approx([0.5, 3, 4])


def test_it_is_linear_so_that_means_and_variances_over_seeds_follow():
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=(2, 700)), rng.normal(size=(2, 700))
    assert sketch(2 * f - g)[1] == pytest.approx(2 * sketch(f)[1] - sketch(g)[1])


@pytest.mark.parametrize("shape", ["all alike", "normal", "a few large ones"])
def test_squares_are_right_on_average_and_as_near_as_it_says(shape):
    """Every number of outputs has signs of its own: 400 sketches."""
    ratios, bounds = [], []
    for n in range(1000, 1400):
        rng = np.random.default_rng(n)
        f = {
            "all alike": np.ones(n),
            "normal": rng.normal(size=n),
            "a few large ones": np.where(np.arange(n) < 20, 30.0, 1.0),
        }[shape]
        mean_square, sums = sketch(f)
        assert mean_square[0] == pytest.approx((f**2).mean())
        ratios.append((sums**2).sum() / (f**2).mean())
        same = (n / SIZE - 1) / (n - 1)  # chance that two numbers share a sum
        bounds.append(2 * same * (1 - (f**4).sum() / (f**2).sum() ** 2))
    assert np.mean(ratios) == pytest.approx(1, abs=4 * (np.mean(bounds) / 400) ** 0.5)
    assert np.var(ratios) == pytest.approx(np.mean(bounds), rel=0.35)
    assert np.mean(bounds) < 2 / SIZE


def test_chunks_do_not_matter():
    f = torch.randn(3, 70, 4, generator=torch.Generator().manual_seed(0))
    one, two = Sketch(280).of([f], 3), Sketch(280).of([f[:, :1], f[:, 1:33], f[:, 33:]], 3)
    assert one == pytest.approx(two, rel=1e-12, abs=1e-15)
    with pytest.raises(ValueError, match="280 numbers, not 276"):
        Sketch(280).of([f[:, 1:]], 3)


def recorded(points):
    found = {}
    for run, metric, step, value in points.rows():
        if is_sketch(metric):
            found.setdefault((run, step), []).append(value)
    return {key: np.array(values) for key, values in found.items()}


RUNS = [ipcore.RunConfig(ipcore.preset("hpz", 2), 0.3, seed) for seed in (0, 1)]
NTK = [ipcore.RunConfig(ipcore.preset("ntk", 2), 0.3, seed) for seed in (0, 1)]
PATHS = {
    "dense": lambda data: ipcore.Trainer(CONFIG, RUNS, data),
    "autograd": lambda data: ipcore.Trainer(CONFIG, RUNS, data, engine=AutogradEngine),
    "deferred": lambda data: LimitTrainer(replace(CONFIG, deferred=True), RUNS, data),
    "particles": lambda data: LimitTrainer(replace(CONFIG, infinite_width=True, replicas=3), RUNS, data),
    "kernel": lambda data: LimitTrainer(replace(CONFIG, infinite_width=True), NTK, data),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_records_the_sketch_of_its_outputs(tiny, path):
    trainer = PATHS[path](tiny)
    found = recorded(trainer.advance().points)
    assert set(found) == {(run, step) for run in (0, 1) for step in STEPS}
    for run in (0, 1):
        if isinstance(trainer, LimitTrainer):
            f = trainer.outputs(run).mean(dim=0)
        else:
            f = trainer.pack.infer(torch.from_numpy(tiny.test.inputs))[run]
        mean_square, sums = sketch(f.double().numpy().reshape(1, -1))
        assert found[run, 5] == pytest.approx([*mean_square, *sums[0]], rel=1e-5, abs=1e-7)


def test_engines_agree_and_training_is_the_same_without_it(tiny):
    dense, autograd = (recorded(PATHS[name](tiny).advance().points) for name in ("dense", "autograd"))
    for key, values in dense.items():
        assert values == pytest.approx(autograd[key], rel=1e-4, abs=1e-6)
    with_it, without = PATHS["dense"](tiny), ipcore.Trainer(replace(CONFIG, probes=None), RUNS, tiny)
    others = [row for row in with_it.advance().points.rows() if not is_sketch(row[1])]
    assert others == list(without.advance().points.rows())


def test_a_limit_states_its_error_wherever_its_outputs_are_recorded(tiny):
    points = PATHS["particles"](tiny).advance().points
    steps = {step for _, metric, step, _ in points.rows() if metric == "limit_error"}
    assert steps == {2, 3, 5}  # not of f_0 = 0; at 3 it is evaluated
    assert {metric for _, metric, _, _ in points.rows() if is_sketch(metric)} == {*OUTPUTS.metrics}


def test_with_other_probes_both_are_recorded(tiny):
    probes = ipcore.Probes(("coordinates", "outputs"), layers=(1,), steps=(1,), examples=4)
    points = ipcore.Trainer(replace(CONFIG, probes=probes), RUNS, tiny).advance().points
    names = {metric for _, metric, step, _ in points.rows() if step == 1 and "/" in metric}
    assert names == {"h/1", "x/1", "h_change/1", "x_change/1", *OUTPUTS.metrics}
