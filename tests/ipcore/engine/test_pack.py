"""The hand-written passes against autograd, and the independence of runs in a pack."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ipcore.engine.engine import PackShape
from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES
from ipcore.engine.optimizers import Optimizer
from ipcore.engine.pack import Pack
from ipcore.engine.rates import StepRates
from ipcore.models import Architecture, Mlp
from ipcore.models.activations import activation as find_activation

CPU = torch.device("cpu")


def make_pack(activation="tanh", depth=2, biases=1, runs=3, width=6, batch=7, loss="cross_entropy") -> Pack:
    torch.manual_seed(0)
    shape = PackShape(runs, Architecture(Mlp(), depth, width, 5, 4), batch, biases)
    pack = Pack(shape, activation, loss, torch.float64, CPU)
    for tensor in [*pack.weights, *pack.biases]:
        tensor.normal_()
    return pack


def load_batch(pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every run its own batch; return inputs (K, B, d) and labels (K, B)."""
    K, B = pack.shape.runs, pack.shape.batch_size
    inputs, labels = torch.randn(K * B, 5, dtype=pack.dtype), torch.randint(0, 4, (K * B,))
    batches = torch.randperm(K * B, dtype=torch.int32).view(K, B)
    pack.gather(Inputs(inputs), labels, batches, torch.arange(K))
    return inputs[batches], labels[batches]


def reference(pack: Pack, inputs, labels, activation):
    """Losses of each run by autograd, with the leaves to differentiate."""
    leaves = [weight.clone().requires_grad_() for weight in pack.weights]
    biases = [bias.clone().requires_grad_() for bias in pack.biases]
    x = inputs
    for layer, weight in enumerate(leaves):
        h = x @ weight.mT
        if layer < len(biases):
            h = h + biases[layer]
        x = h if layer == len(leaves) - 1 else find_activation(activation).apply(h)
    losses = torch.stack([functional.cross_entropy(f, y) for f, y in zip(x, labels, strict=True)])
    return losses, leaves + biases


def descend(pack: Pack, weights, biases=None) -> None:
    """Make one update with these rates."""
    optimizer = Optimizer(pack)
    optimizer.begin(0, StepRates(weights, biases, None))
    pack.step(optimizer.update)


@pytest.mark.parametrize("biases", [0, 1, "all"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("activation", ["relu", "gelu", "elu", "tanh", "relu^2", "sin"])
def test_an_update_is_the_gradient_of_autograd_times_the_rates(activation, depth, biases):
    pack = make_pack(activation, depth, depth + 1 if biases == "all" else biases)
    inputs, labels = load_batch(pack)
    losses, leaves = reference(pack, inputs, labels, activation)
    gradients = torch.autograd.grad(losses.sum(), leaves)
    rates = [torch.rand(3, 1, 1, dtype=torch.float64) for _ in pack.weights]
    bias_rates = [rates[0]]
    if biases == "all":
        bias_rates = [torch.rand(3, 1, 1, dtype=torch.float64) for _ in pack.biases]
    before = [leaf.detach().clone() for leaf in leaves]
    # The pack's rates carry the sign and the 1/B of the mean.
    B = pack.shape.batch_size
    descend(pack, [-r / B for r in rates], [-r / B for r in bias_rates] if biases == "all" else None)
    assert torch.allclose(pack.losses, losses.detach(), rtol=1e-12)
    after = pack.weights + pack.biases
    used = rates + (bias_rates if pack.biases else [])
    for old, new, gradient, rate in zip(before, after, gradients, used, strict=True):
        assert torch.allclose(new, old - rate * gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("biases", [0, 1, 3])
def test_inference_agrees_with_the_training_pass(biases):
    pack = make_pack("gelu", runs=2, biases=biases)
    inputs = torch.randn(7, 5, dtype=torch.float64)
    same = torch.arange(7, dtype=torch.int32).unsqueeze(0)
    pack.gather(Inputs(inputs), torch.zeros(7, dtype=torch.int64), same, torch.zeros(2, dtype=torch.int64))
    pack.forward()
    assert torch.allclose(pack.infer(inputs), pack.logits, rtol=1e-12)


def test_no_run_sees_anothers_numbers():
    whole, poisoned = make_pack(), make_pack()
    poisoned.weights[0][1].fill_(float("nan"))
    for pack in (whole, poisoned):
        torch.manual_seed(1)
        load_batch(pack)
        descend(pack, [torch.full((3, 1, 1), -0.1, dtype=torch.float64)] * 3)
    for one, two in zip(whole.weights, poisoned.weights, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[2], two[2])
        assert two[1].isnan().all()


def test_rate_zero_changes_nothing():
    pack = make_pack()
    load_batch(pack)
    before = [weight.clone() for weight in pack.weights]
    descend(pack, [torch.zeros(3, 1, 1, dtype=torch.float64)] * 3)
    assert all(torch.equal(a, b) for a, b in zip(before, pack.weights, strict=True))


def test_accuracy_counts_the_largest_output():
    pack = make_pack(runs=1, batch=4)
    load_batch(pack)
    pack.forward()
    expected = (pack.logits.argmax(-1) == pack.labels).sum().item()
    assert pack.correct().tolist() == [expected]


def test_batches_of_real_targets():
    pack = Pack(
        PackShape(2, Architecture(Mlp(), 1, 4, 3, 2), 3, 0, target_dim=2), "tanh", "mse", torch.float64, CPU
    )
    targets = torch.arange(12.0, dtype=torch.float64).view(6, 2)
    pack.gather(
        Inputs(torch.zeros(6, 3).double()), targets, torch.tensor([[5, 0, 2]]).int(), torch.tensor([0, 0])
    )
    assert pack.labels[1].tolist() == [[10, 11], [0, 1], [4, 5]]
    pack.taps()
    # f = 0: half the mean of the squared targets, summed over both numbers.
    expected = (100 + 121 + 0 + 1 + 16 + 25) / 2 / 3
    assert pack.losses.tolist() == pytest.approx([expected, expected])
    assert LOSSES["mse"].values(pack.logits, pack.labels).mean(dim=1).tolist() == pytest.approx(
        [expected] * 2
    )
