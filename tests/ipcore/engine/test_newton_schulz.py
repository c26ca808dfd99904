"""Newton-Schulz against exact singular values, and Muon's updates as matrices."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ipcore.config import OptimizerSettings, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.newton_schulz import NewtonSchulz, normalize
from ipcore.theory import custom, preset
from ipcore.training.trainer import Trainer

SHAPES = [(6, 6), (40, 7), (7, 40), (5, 1), (1, 5)]


def orthogonalized(matrices: Tensor, *steps: int) -> Tensor:
    shape = (matrices.shape[1], matrices.shape[2])
    room = NewtonSchulz([(9, 9), shape], steps, matrices.dtype, matrices.device)
    return room(matrices.clone()).clone()


def polynomial(s: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_polynomial_of_the_singular_values_with_steps_of_each_run(shape: tuple[int, int]):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape, dtype=torch.float64)
    found = orthogonalized(matrices, 5, 1, 7)
    for matrix, result, steps in zip(matrices, found, (5, 1, 7), strict=True):
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        expected = (u * polynomial(s / s.norm(), steps)) @ vt
        assert torch.allclose(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_orthogonalizes_what_is_not_too_small(shape: tuple[int, int], dtype: torch.dtype):
    """Singular values 1, 1/2, 1/4: U V^T over these directions, each times 0.68 .. 1.21."""
    torch.manual_seed(1)
    u, _, vt = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    rank = min(3, *shape)
    s = 2.0 ** -torch.arange(rank, dtype=torch.float64)
    matrix = ((u[:, :rank] * s) @ vt[:rank]).to(dtype)
    found = orthogonalized(matrix.unsqueeze(0), 5)[0].double()
    values = (u.mT @ found @ vt.mT).diagonal()
    assert ((values[:rank] > 0.68) & (values[:rank] < 1.21)).all()
    exact = u[:, :rank] @ vt[:rank]
    assert torch.linalg.matrix_norm(found - exact, 2) < 0.33  # zero outside the three directions
    assert values[rank:].abs().max() < 1e-3 if len(values) > rank else True


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_the_size_of_a_gradient_does_not_matter(scale: float):
    """Single precision with squares outside its range; below 1e-38 numbers have fewer digits."""
    torch.manual_seed(2)
    matrix = torch.randn(1, 6, 4)
    found, expected = orthogonalized(matrix * scale, 5), orthogonalized(matrix, 5)
    assert torch.allclose(found, expected, atol=1e-4 if scale > 1e-38 else 0.05)


def test_nothing_stays_nothing_and_what_is_no_number_stays_in_its_run():
    matrices = torch.randn(3, 4, 5)
    matrices[0] = 0
    matrices[1, 2, 3] = torch.nan
    found = orthogonalized(matrices, 5, 5, 5)
    assert torch.equal(found[0], torch.zeros(4, 5))
    assert found[1].isnan().any()
    assert torch.equal(found[2], orthogonalized(matrices[2:], 5)[0])
    assert torch.equal(normalize(torch.zeros(2, 1, 3)), torch.zeros(2, 1, 3))


# Muon

FACTORS = {
    "muon": lambda n, k: math.sqrt(max(1, n / k)),
    "muon-unscaled": lambda n, k: 1.0,
    "muon-spectral": lambda n, k: math.sqrt(n / k),
    "muon-rms": lambda n, k: math.sqrt(max(n, k)),
}
STILL = custom(2, a=["0", "1/2", "1"], b=["0"] * 3, c=["0", "-1/2", "-1"])  # c = -a: W moves by eta


@pytest.mark.parametrize("optimizer", FACTORS)
def test_the_first_update_is_an_orthogonal_matrix_times_factor_and_rate(tiny: Dataset, optimizer: str):
    """One example gives rank one: the gradient divided by its norm, times the value of five steps at 1."""
    eta = 0.01
    config = PackConfig("digits", 2, 12, "tanh", batch_size=1, steps=1, optimizer=optimizer)
    run = RunConfig(STILL, eta, 0)
    muon = Trainer(config, [run], tiny, dtype=torch.float64)
    raw = Trainer(replace(config, optimizer="sgd"), [run], tiny, dtype=torch.float64)
    tensors = [[*trainer.pack.weights, *trainer.pack.biases] for trainer in (muon, raw)]
    starts = [[tensor[0].clone() for tensor in group] for group in tensors]
    for trainer in (muon, raw):
        trainer.advance()
    one = polynomial(torch.tensor(1.0, dtype=torch.float64), 5)
    for i, (moved, gradient) in enumerate(zip(*tensors, strict=True)):
        update = moved[0] - starts[0][i]
        direction = gradient[0] - starts[1][i]
        bias = i == 3
        n, k = (12, 1) if bias else update.shape
        expected = eta * FACTORS[optimizer](n, k) * direction / direction.norm() * (1 if bias else one)
        assert torch.allclose(update, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", FACTORS)
def test_entries_of_updates_have_the_exponents_that_theory_takes(tiny: Dataset, optimizer: str):
    """rms(Delta W) of the first update at widths 64 and 512, eight examples: slopes e_l."""
    from ipcore.theory.rules import update_entry

    sizes = []
    for width in (64, 512):
        config = PackConfig("digits", 2, width, "relu", batch_size=8, steps=1, optimizer=optimizer)
        p = replace(preset("mup", 2), phases=STILL.phases)
        trainer = Trainer(config, [RunConfig(p, 1.0, seed) for seed in range(3)], tiny)
        starts = [weight.clone() for weight in trainer.pack.weights]
        trainer.advance()
        pairs = zip(trainer.pack.weights, starts, strict=True)
        sizes.append([(end - start).square().mean().sqrt().log2().item() for end, start in pairs])
    for layer, (narrow, wide) in enumerate(zip(*sizes, strict=True)):
        assert (wide - narrow) / 3 == pytest.approx(float(update_entry(optimizer, layer, 2)), abs=0.1)


def test_steps_and_momentum_belong_to_each_run(tiny: Dataset):
    config = PackConfig("digits", 2, 12, "tanh", batch_size=8, steps=4, optimizer="muon")
    chosen = [OptimizerSettings(momentum=b, newton_schulz_steps=n) for b, n in ((0.9, 5), (0.9, 2), (0.0, 5))]
    runs = [RunConfig(preset("mup", 2, optimizer="muon"), 0.05, 0, settings=s) for s in chosen]
    together = Trainer(config, runs, tiny, dtype=torch.float64)
    together.advance()
    for position, run in enumerate(runs):
        alone = Trainer(config, [run], tiny, dtype=torch.float64)
        alone.advance()
        for one, two in zip(together.network(position).weights, alone.network(0).weights, strict=True):
            assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)
    first, second, third = (together.network(position).weights[1] for position in range(3))
    assert not torch.allclose(first, second, rtol=1e-3)
    assert not torch.allclose(first, third, rtol=1e-3)
