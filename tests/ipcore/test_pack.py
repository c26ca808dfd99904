"""The hand-written passes against autograd, and what a pack promises about its runs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ipcore.activations import ACTIVATIONS
from ipcore.catalogue import ACTIVATIONS as NAMES
from ipcore.catalogue import LOSSES as LOSS_NAMES
from ipcore.losses import LOSSES
from ipcore.pack import Pack, PackShape

CPU = torch.device("cpu")
REFERENCE = {"relu": torch.relu, "gelu": functional.gelu, "elu": functional.elu, "tanh": torch.tanh}


def make_pack(activation="tanh", depth=2, bias=True, runs=3, width=6, batch=7, dtype=torch.float64) -> Pack:
    torch.manual_seed(0)
    pack = Pack(
        PackShape(runs, (5, *[width] * depth, 4), batch, bias), activation, "cross_entropy", dtype, CPU
    )
    for weight in pack.weights:
        weight.normal_()
    if pack.bias is not None:
        pack.bias.normal_()
    return pack


def load_batch(pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every run a batch of its own; returns inputs (K, B, d) and labels (K, B)."""
    K, B = pack.shape.runs, pack.shape.batch_size
    inputs, labels = torch.randn(K * B, 5, dtype=pack.dtype), torch.randint(0, 4, (K * B,))
    batches = torch.randperm(K * B, dtype=torch.int32).view(K, B)
    pack.gather(inputs, labels, batches, torch.arange(K))
    return inputs[batches], labels[batches]


def reference(pack: Pack, inputs, labels, activation):
    """Losses of each run by autograd, with the leaves to differentiate."""
    leaves = [weight.clone().requires_grad_() for weight in pack.weights]
    bias = None if pack.bias is None else pack.bias.clone().requires_grad_()
    x = inputs
    for layer, weight in enumerate(leaves):
        h = x @ weight.mT
        if layer == 0 and bias is not None:
            h = h + bias
        x = h if layer == len(leaves) - 1 else REFERENCE[activation](h)
    losses = torch.stack([functional.cross_entropy(f, y) for f, y in zip(x, labels, strict=True)])
    return losses, leaves + ([] if bias is None else [bias])


def test_there_is_code_for_every_name_of_the_catalogue():
    assert set(ACTIVATIONS) == set(NAMES)
    assert set(LOSSES) == set(LOSS_NAMES)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("activation", NAMES)
def test_an_update_is_the_gradient_of_autograd_times_the_rates(activation, depth, bias):
    pack = make_pack(activation, depth, bias)
    inputs, labels = load_batch(pack)
    losses, leaves = reference(pack, inputs, labels, activation)
    gradients = torch.autograd.grad(losses.sum(), leaves)
    rates = [torch.rand(3, 1, 1, dtype=torch.float64) for _ in pack.weights]
    before = [leaf.detach().clone() for leaf in leaves]
    # The pack's rates carry the sign and the 1/B of the mean.
    pack.train_step([-rate / pack.shape.batch_size for rate in rates])
    assert torch.allclose(pack.losses, losses.detach(), rtol=1e-12)
    after = pack.weights + ([pack.bias] if pack.bias is not None else [])
    for old, new, gradient, rate in zip(before, after, gradients, [*rates, rates[0]], strict=False):
        assert torch.allclose(new, old - rate * gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", NAMES)
def test_inference_agrees_with_the_training_pass(activation):
    pack = make_pack(activation, runs=2)
    inputs = torch.randn(7, 5, dtype=torch.float64)
    same = torch.arange(7, dtype=torch.int32).unsqueeze(0)
    pack.gather(inputs, torch.zeros(7, dtype=torch.int64), same, torch.zeros(2, dtype=torch.int64))
    pack.forward()
    assert torch.allclose(pack.infer(inputs), pack.logits, rtol=1e-12)


def test_no_run_sees_anothers_numbers():
    whole, poisoned = make_pack(), make_pack()
    poisoned.weights[0][1].fill_(float("nan"))
    for pack in (whole, poisoned):
        torch.manual_seed(1)
        load_batch(pack)
        pack.train_step([torch.full((3, 1, 1), -0.1, dtype=torch.float64)] * 3)
    for one, two in zip(whole.weights, poisoned.weights, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[2], two[2])
        assert two[1].isnan().all()


def test_rate_zero_changes_nothing():
    pack = make_pack()
    load_batch(pack)
    before = [weight.clone() for weight in pack.weights]
    pack.train_step([torch.zeros(3, 1, 1, dtype=torch.float64)] * 3)
    assert all(torch.equal(a, b) for a, b in zip(before, pack.weights, strict=True))


def test_cross_entropy_by_hand_and_for_huge_logits():
    # softmax of (ln 1, ln 3) is (1/4, 3/4); label 0: loss ln 4, derivative (1/4 - 1, 3/4).
    logits = torch.tensor([[[0.0, 3.0]]]).double()
    logits[0, 0, 1] = torch.tensor(3.0).double().log()
    out = torch.empty_like(logits)
    loss = LOSSES["cross_entropy"].value_and_derivative(logits, torch.zeros(1, 1, dtype=torch.int64), out)
    assert loss.item() == pytest.approx(1.3862943611198906)
    assert out.flatten().tolist() == pytest.approx([-0.75, 0.75])
    huge = torch.tensor([[[1e30, -1e30]]])
    loss = LOSSES["cross_entropy"].value_and_derivative(
        huge, torch.zeros(1, 1, dtype=torch.int64), huge.clone()
    )
    assert loss.item() == 0.0


def test_accuracy_counts_the_largest_logit():
    pack = make_pack(runs=1, batch=4)
    load_batch(pack)
    pack.forward()
    expected = (pack.logits.argmax(-1) == pack.labels).sum().item()
    assert pack.correct().tolist() == [expected]
