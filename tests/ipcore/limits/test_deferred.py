"""Deferred weights against dense networks: equal with the completed matrices, and equal in law."""

import dataclasses

import numpy as np
import pytest
import torch

import ipcore
from ipcore.limits.deferred import DeferredMatrix
from ipcore.limits.deferred_network import DeferredNetwork
from ipcore.limits.learners import batches_of
from ipcore.models.activations import activation
from ipcore.models.scales import bias_rate_factors, rate_factors, remainders
from ipcore.randomness import calibration_batches, generator
from ipcore.theory import preset


def normals(*key):
    return generator(*key)


def test_answers_agree_with_the_completed_matrix_and_with_each_other():
    matrix = DeferredMatrix(9, 11, 20, 20, torch.float64)
    rng = torch.Generator().manual_seed(0)
    asked, answered, back, returned = [], [], [], []
    for step in range(6):
        x = torch.randn(3, 11, generator=rng, dtype=torch.float64)
        if step == 2:
            x[1] = 0.5 * asked[0][0] - asked[1][2]  # nothing new in it
        if step == 3:
            x[0] = 0
        asked.append(x)
        answered.append(matrix.forward(x, normals(step, "x")))
        u = answered[-1].tanh()
        back.append(u)
        returned.append(matrix.backward(u, normals(step, "u")))
    whole = matrix.complete(normals("rest"))
    for x, answer in zip(asked, answered, strict=True):
        torch.testing.assert_close(x @ whole.T, answer)
    for u, answer in zip(back, returned, strict=True):
        torch.testing.assert_close(u @ whole, answer)
    assert not answered[3][0].any()


def test_what_is_not_remembered_does_not_bind():
    matrix = DeferredMatrix(7, 7, 10, 10, torch.float64)
    x = torch.eye(7, dtype=torch.float64)[:2]
    first = matrix.forward(x, normals(0), remember=False)
    assert not torch.allclose(first, matrix.forward(x, normals(1)))
    second = matrix.forward(x, normals(2))
    torch.testing.assert_close(second, matrix.forward(x, normals(3)))


def test_the_law_of_the_answers_is_that_of_a_gaussian_matrix():
    """Over many matrices: the second question depends on the first answers, as training's do."""
    seen = {True: [], False: []}
    for seed in range(1500):
        x = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
        G = torch.from_numpy(generator(seed, "dense").standard_normal((3, 3)))
        matrix = DeferredMatrix(3, 3, 4, 4, torch.float64)
        for deferred in (True, False):
            a = matrix.forward(x, normals(seed, 1)) if deferred else x @ G.T
            b = matrix.backward(a.tanh(), normals(seed, 2)) if deferred else a.tanh() @ G
            c = matrix.forward(b, normals(seed, 3)) if deferred else b @ G.T
            seen[deferred].append(torch.cat([a, b, c]).flatten())
    one, other = (torch.stack(rows) for rows in (seen[True], seen[False]))
    for left, right in (
        (one, other),
        (one**2, other**2),
        (one[:, :6] * one[:, 3:], other[:, :6] * other[:, 3:]),
    ):
        error = ((left.var(0) + right.var(0)) / 1500).sqrt()
        assert ((left.mean(0) - right.mean(0)).abs() < 4.5 * error).all()


def test_learned_answers_are_taken_over_in_float64_and_forgotten_by_row():
    x = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[3] = x[0] + x[1]
    G = torch.from_numpy(generator(5).standard_normal((6, 12)))
    matrix = DeferredMatrix(6, 12, 12, 0, torch.float64)
    matrix.learn(x, x @ G.T)
    torch.testing.assert_close(matrix.forward(x, normals(1)), x @ G.T)
    keep = torch.tensor([True, False, True, True, False, True])
    matrix.keep_outputs(keep)
    torch.testing.assert_close(matrix.forward(x, normals(1)), (x @ G.T)[:, keep])


def pack(name, phi="relu", L=2, m=30, steps=5, B=4, optimizer="momentum", **more):
    run = {key: more.pop(key) for key in ("calibration", "settings", "eta") if key in more}
    config = ipcore.PackConfig(
        "digits", L, m, phi, B, steps, weights="none", optimizer=optimizer, deferred=True, **more
    )
    settings = run.get("settings", ipcore.OptimizerSettings(momentum=0.8, weight_decay=0.3))
    return config, ipcore.RunConfig(preset(name, L), run.get("eta", 0.3), 3, run.get("calibration"), settings)


def plain_outputs(config, run, network, data, base_rates=None):
    """Training of the completed network by autograd, from the definitions: f on every batch."""
    p, m, L = run.parameterization, config.width, config.hidden_layers
    phi = activation(config.activation).apply
    start = DeferredNetwork(config, run, data[0].shape[1], 3, dtype=torch.float64)
    initial = [start._ends[1], *(None,) * (L - 1), start._ends[L + 1]]
    for layer in range(2, L + 1):
        G = network._initial[layer - 2].complete(normals("rest", layer))
        initial[layer - 1] = start._stds[layer - 1] * G + start._means[layer - 1]
    moved = [torch.zeros_like(w) for w in initial]
    biases = [b.clone() for b in start._biases]
    velocities = [torch.zeros_like(t) for t in [*initial, *biases]]
    beta = run.settings.momentum if config.optimizer == "momentum" else 0.0
    keep, kept, found = 1 - run.base_learning_rate * run.settings.weight_decay, 1.0, []
    for step, rows in enumerate(batches_of(config, run.seed, len(data[0]))):
        x, y = data[0][rows], data[1][rows]
        rho = remainders(p, m, step)
        now = [r * kept * w + u for r, w, u in zip(rho, initial, moved, strict=True)]
        leaves = [t.clone().requires_grad_() for t in [*now, *biases]]
        for layer in range(L + 1):
            h = x @ leaves[layer].T
            if layer < len(biases):
                h = h + leaves[L + 1 + layer]
            x = phi(h)
        found.append(h.detach())
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(h, y), leaves)
        rates = list(rate_factors(p, m, step))
        base = base_rates if step == 0 and base_rates else [run.base_learning_rate] * (L + 1)
        rates = [b * r for b, r in zip(base, rates, strict=True)]
        rates += [run.base_learning_rate * r for r in bias_rate_factors(p, m, step, config.bias)][
            : len(biases)
        ]
        velocities = [beta * v + g for v, g in zip(velocities, gradients, strict=True)]
        for i in range(L + 1):
            moved[i] = keep * moved[i] - rates[i] * velocities[i]
        for i in range(len(biases)):
            biases[i] = biases[i] - rates[L + 1 + i] * velocities[L + 1 + i]
        kept *= keep
    return found


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mup", {}),
        ("mup", {"L": 3, "phi": "tanh", "optimizer": "sgd"}),
        ("ip-llr", {"L": 3}),
        ("hp", {"L": 3}),
        ("hpz", {"L": 3, "optimizer": "sgd"}),
        ("ntk", {"phi": "gelu"}),
        ("ip-bias", {}),
        ("ip-non-centered", {"m": 16}),
        ("sp-stable", {"bias": "none"}),
        ("mup", {"m": 11, "steps": 6}),  # fewer neurons than examples
        ("hp", {"L": 3, "calibration": ipcore.Calibration(0.5), "phi": "gelu"}),
        ("mup", {"calibration": ipcore.Calibration(1.0)}),
    ],
)
def test_a_deferred_network_is_the_dense_one_with_the_completed_matrices(tiny, name, more):
    config, run = pack(name, **more)
    inputs, labels = torch.from_numpy(tiny.train.inputs).double(), torch.from_numpy(tiny.train.labels)
    network = DeferredNetwork(config, run, 5, 3, dtype=torch.float64)
    base = None
    if run.calibration is not None:
        one, two = map(torch.from_numpy, calibration_batches(40, config.batch_size))
        base = network.first_rates((inputs[one], labels[one]), inputs[two])
    keep = 1 - run.base_learning_rate * run.settings.weight_decay
    rows = batches_of(config, run.seed, 40)
    found = []
    for step, batch in enumerate(rows):
        rates = base if step == 0 and base else [run.base_learning_rate] * (config.hidden_layers + 1)
        found.append(network.update(inputs[batch], labels[batch], rates, 1.0, keep)[1])
    for f, wanted in zip(found, plain_outputs(config, run, network, (inputs, labels), base), strict=True):
        torch.testing.assert_close(f, wanted, rtol=1e-8, atol=1e-10)


def test_calibrated_rates_are_those_of_the_completed_network(tiny):
    """The dense engine, given the completed matrices, finds the same rates."""
    config, run = pack("ip-llr", L=3, calibration=ipcore.Calibration(0.1, 1e9), optimizer="sgd")
    inputs, labels = torch.from_numpy(tiny.train.inputs).double(), torch.from_numpy(tiny.train.labels)
    one, two = map(torch.from_numpy, calibration_batches(40, config.batch_size))
    network = DeferredNetwork(config, run, 5, 3, dtype=torch.float64)
    found = network.first_rates((inputs[one], labels[one]), inputs[two])
    dense = dataclasses.replace(config, deferred=False)
    trainer = ipcore.Trainer(dense, [run], tiny, dtype=torch.float64)
    for layer in (2, 3):
        G = network._initial[layer - 2].complete(normals("rest", layer))
        trainer.pack.weights[layer - 1][0].copy_(network._stds[layer - 1] * G)
    from ipcore.training.calibration import calibrated_rates

    with torch.inference_mode():
        wanted = calibrated_rates(trainer.pack, dense, [run], trainer._inputs, trainer._labels)[0]
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", ["mup", "hp"])
def test_the_law_of_a_trained_network_is_that_of_a_dense_one(tiny, name):
    """Moments of f on test inputs after three updates, over 400 seeds of the weights each."""
    seeds = 400
    config, run = pack(name, m=12, steps=3, B=4, optimizer="sgd", eta=0.5)
    plain = ipcore.OptimizerSettings()
    runs = [ipcore.RunConfig(run.parameterization, 0.5, seed, None, plain) for seed in range(seeds)]
    dense = ipcore.Trainer(dataclasses.replace(config, deferred=False), runs, tiny, data_seed=0)
    dense.advance()
    inputs, labels = torch.from_numpy(tiny.train.inputs), torch.from_numpy(tiny.train.labels)
    probe = torch.from_numpy(tiny.test.inputs[:4])
    other = dense.pack.infer(probe).flatten(1).double()
    rows, found = batches_of(config, 0, 40), []
    for seed in range(seeds):
        # Other weights than the dense networks': only the law is the same.
        network = DeferredNetwork(config, dataclasses.replace(runs[seed], seed=10_000 + seed), 5, 3)
        for batch in rows:
            network.update(inputs[batch], labels[batch], [0.5] * 3, 1.0)
        found.append(network.outputs(probe).flatten())
    one = torch.stack(found).double()
    for left, right in (
        (one, other),
        (one**2, other**2),
        (one[:, :6] * one[:, 6:], other[:, :6] * other[:, 6:]),
    ):
        error = ((left.var(0) + right.var(0)) / seeds).sqrt()
        assert ((left.mean(0) - right.mean(0)).abs() < 4 * error).all()


def test_exact_zeros_stay_exact_where_initial_matrices_are_removed(tiny):
    config, run = pack("hpz", m=60, optimizer="sgd", settings=ipcore.OptimizerSettings())
    network = DeferredNetwork(config, run, 5, 3)
    inputs, labels = torch.from_numpy(tiny.train.inputs), torch.from_numpy(tiny.train.labels)
    for batch in batches_of(config, 0, 40):
        network.update(inputs[batch], labels[batch], [0.5] * 3, 1.0)
    rows = network._updates[0].state()["u"]
    dead = (rows[: config.batch_size] == 0).all(dim=0)
    assert dead.any()
    assert not network._matrix(2, torch.rand(3, 60), "test", remember=False)[:, dead].any()


def test_batches_are_those_of_the_trainer():
    config, _ = pack("mup", steps=25)
    rows = batches_of(config, 7, 40)
    assert len(rows) == 25
    assert len(np.unique(np.concatenate(rows[:10]))) == 40
