"""Root mean square normalization and its derivative."""

import pytest
import torch
from torch.nn import functional

from ipcore.models.rms import normalized


def test_examples_have_a_mean_square_of_one_and_keep_their_direction():
    h = torch.tensor([[3.0, 4.0], [-1e-12, 0.0], [7e12, 7e12]])
    expected = torch.tensor([[3.0, 4.0], [-5.0, 0.0], [5.0 / 2**0.5] * 2]) * (2**0.5 / 5)
    torch.testing.assert_close(normalized(h), expected)


def test_nothing_stays_nothing_and_has_no_derivative():
    h = torch.zeros(2, 3, requires_grad=True)
    y = normalized(h)
    assert not y.any()
    y.sum().backward()
    assert h.grad is not None
    assert not h.grad.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad: float):
    assert not normalized(torch.tensor([1.0, bad])).isfinite().all()


def test_values_and_derivatives_are_those_of_torch():
    torch.manual_seed(0)
    h = torch.randn(3, 5, 7, dtype=torch.float64) * torch.logspace(-9, 9, 5, dtype=torch.float64).view(5, 1)
    ours, theirs = (h.clone().requires_grad_() for _ in range(2))
    dy = torch.randn_like(h)
    kept = dy.clone()
    one, two = normalized(ours), functional.rms_norm(theirs, (7,), eps=0)
    torch.testing.assert_close(one, two)
    one.backward(dy)
    two.backward(dy)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(dy, kept)  # a gradient that others may use, too
    along = (ours.grad * h).sum(dim=-1)  # scale invariance
    assert along.abs().max() < 1e-12
