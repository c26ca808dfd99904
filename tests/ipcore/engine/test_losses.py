"""Values and derivatives of losses against autograd in double precision, by hand, and for huge outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ipcore.catalogue import LOSSES as NAMES
from ipcore.engine.losses import LOSSES, correct
from ipcore.errors import ConfigError


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(labels, 4).double()


def signs(labels: torch.Tensor) -> torch.Tensor:
    return 2.0 * labels.unsqueeze(-1) - 1


# Name, outputs, kind of labels, loss of each example.
CASES = [
    (
        "cross_entropy",
        4,
        "classes",
        lambda f, y: -torch.log_softmax(f, -1).gather(-1, y.unsqueeze(-1))[..., 0],
    ),
    ("mse", 4, "classes", lambda f, y: ((f - one_hot(y)) ** 2).sum(-1) / 2),
    ("mse", 3, "targets", lambda f, y: ((f - y) ** 2).sum(-1) / 2),
    ("logistic", 1, "two", lambda f, y: torch.log1p(torch.exp(-signs(y) * f))[..., 0]),
    ("exponential", 1, "two", lambda f, y: torch.exp(-signs(y) * f)[..., 0]),
]


def test_every_name_of_the_catalogue_has_code_and_a_case():
    assert set(LOSSES) == set(NAMES) == {case[0] for case in CASES}


@pytest.mark.parametrize(("name", "outputs", "kind", "reference"), CASES)
def test_value_and_derivative_are_those_of_autograd(name, outputs, kind, reference):
    torch.manual_seed(0)
    f = torch.randn(3, 7, outputs, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4 if kind == "classes" else 2, (3, 7))
    if kind == "targets":
        labels = torch.randn(3, 7, outputs, dtype=torch.float64)
    expected = reference(f, labels)
    (slope,) = torch.autograd.grad(expected.sum(), f)
    loss, plain = LOSSES[name], f.detach()
    out = torch.full_like(plain, math.nan)
    summed = loss.value_and_derivative(plain, labels, out)
    assert torch.allclose(summed, expected.sum(dim=1), rtol=1e-12)
    assert torch.allclose(out, slope, rtol=1e-12)
    assert torch.allclose(loss.values(plain, labels), expected, rtol=1e-12)
    assert torch.equal(plain, f.detach())


def test_cross_entropy_by_hand_and_for_huge_outputs():
    # softmax of (ln 1, ln 3) is (1/4, 3/4); label 0: loss ln 4, derivative (1/4 - 1, 3/4).
    logits = torch.tensor([[[0.0, math.log(3)]]]).double()
    out = torch.empty_like(logits)
    loss = LOSSES["cross_entropy"].value_and_derivative(logits, torch.zeros(1, 1, dtype=torch.int64), out)
    assert loss.item() == pytest.approx(math.log(4))
    assert out.flatten().tolist() == pytest.approx([-0.75, 0.75])
    huge = torch.tensor([[[1e30, -1e30]]])
    label = torch.zeros(1, 1, dtype=torch.int64)
    assert LOSSES["cross_entropy"].value_and_derivative(huge, label, huge.clone()).item() == 0.0


def test_the_logistic_loss_never_overflows():
    """For -y f = 1e30 the loss is 1e30 and its derivative 1; on the right side both are 0."""
    f, labels = torch.tensor([[[1e30], [1e30]]]), torch.tensor([[0, 1]])
    out = torch.empty_like(f)
    loss = LOSSES["logistic"].value_and_derivative(f, labels, out)
    assert loss.item() == pytest.approx(1e30)
    assert out.flatten().tolist() == [1.0, 0.0]
    assert LOSSES["logistic"].values(f, labels)[0].tolist() == pytest.approx([1e30, 0.0])


def test_one_output_is_right_by_its_sign():
    f = torch.tensor([[[0.5], [-0.5], [0.5], [0.0], [0.0]]])
    assert correct(f, torch.tensor([[1, 1, 0, 0, 1]]))[0].tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("name", "labels", "classes", "message"),
    [
        ("cross_entropy", np.zeros((3, 1), np.float32), 0, "integer class"),
        ("cross_entropy", np.array([0, 3]), 3, r"not in 0\.\.2"),
        ("cross_entropy", np.zeros(3, np.int64), 1, "at least 2"),
        ("logistic", np.array([0, 2]), 3, "exactly 2 classes"),
        ("exponential", np.zeros((3, 1), np.float32), 0, "integer class"),
        ("mse", np.zeros(3, np.float32), 0, r"\(n, k >= 1\)"),
        ("mse", np.full((3, 1), np.nan, np.float32), 0, "finite"),
        ("mse", np.array([-1, 0]), 2, r"not in 0\.\.1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(name, labels, classes, message):
    with pytest.raises(ConfigError, match=message):
        LOSSES[name].check_labels(labels, classes)
