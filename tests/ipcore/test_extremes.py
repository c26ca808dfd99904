"""Losses and activations over the whole range of a number format, against mpmath.

Correct means: an error of a few units in the last place of max(1, |value|), as in torch; infinite if the
value is outside of the format; never NaN. Losses of classes are correct relative to the value itself, so that
a rightly classified example still has a loss and a derivative: torch's cross entropy has 0 for both where its
logit is larger by 17 in single precision, and by 37 in double.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")
pytest.importorskip("mpmath")  # torch brings it

from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from ipcore import evaluate
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split, load_dataset
from ipcore.engine.losses import LOSSES, correct
from ipcore.models.activations import activation
from ipcore.models.network import Network
from ipcore.theory import preset
from ipcore.training.pack_evaluation import evaluate_pack
from ipcore.training.trainer import Trainer

DTYPES = {32: torch.float32, 64: torch.float64}
widths = st.sampled_from([32, 64])
ULPS = 8


def reals(width: int) -> st.SearchStrategy[float]:
    """Numbers of a format: ordinary ones, those near the limits of exp, and all others up to the limits."""
    largest = torch.finfo(DTYPES[width]).max
    return st.one_of(
        st.floats(-5, 5, width=width),
        st.floats(-800, 800, width=width),
        st.sampled_from([0.0, -0.0, 88.7, -88.75, -104.0, 709.5, -746.0, largest, -largest, largest / 2]).map(
            lambda v: float(np.float32(v)) if width == 32 else v
        ),
        st.floats(allow_nan=False, allow_infinity=False, width=width),
    )


def rows(width: int, columns: int) -> st.SearchStrategy[list[list[float]]]:
    row = st.one_of(
        st.lists(reals(width), min_size=columns, max_size=columns),
        reals(width).map(lambda value: [value] * columns),  # ties
    )
    return st.lists(row, min_size=1, max_size=4)


def check(found: float, true, dtype: torch.dtype, *, relative: bool = False) -> None:
    """Whether a number is the correct value, rounded to a format."""
    info = torch.finfo(dtype)
    assert not math.isnan(found), true
    if math.isinf(found):
        assert abs(true) > info.max * (1 - 8 * info.eps), true
        assert (found > 0) == (true > 0)
        return
    # exp(z) is as far off as z is, whose rounding was |z| / 2 units.
    scale = max(1, -mp.log(abs(true)) / ULPS) if true else 1
    # Below the smallest normal number there is no relative precision, and torch may flush it to 0.
    room = ULPS * info.eps * (abs(true) * scale if relative else max(1, abs(true))) + info.tiny
    assert abs(mp.mpf(found) - true) <= room, (found, true)


def check_loss(name: str, width: int, outputs: list[list[float]], labels, expected) -> None:
    """Values, their sum and the derivative of one run.

    Args:
        expected: (outputs of an example, its label) -> its loss and the derivative, exactly.
    """
    dtype, relative = DTYPES[width], name in ("cross_entropy", "logistic", "exponential")
    f = torch.tensor([outputs], dtype=dtype)
    labels = torch.tensor([labels], dtype=dtype if name == "targets" else torch.int64)
    loss = LOSSES["mse" if name == "targets" else name]
    out = torch.empty_like(f)
    summed = loss.value_and_derivative(f, labels, out).item()
    values = loss.values(f, labels)[0].tolist()
    total = mp.mpf(0)
    for row, label, value, slope in zip(
        f[0].tolist(), labels[0].tolist(), values, out[0].tolist(), strict=True
    ):
        true, derivative = expected([mp.mpf(v) for v in row], label)
        check(value, true, dtype, relative=relative)
        for one, other in zip(slope, derivative, strict=True):
            check(one, other, dtype, relative=relative)
        total += true
    check(summed, total, dtype, relative=relative)


@given(st.data(), widths)
@settings(max_examples=60, deadline=None)
def test_cross_entropy(data, width):
    outputs = data.draw(rows(width, 3))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(outputs), max_size=len(outputs)))

    def expected(row, label):
        with mp.workdps(60):
            powers = [mp.exp(v - max(row)) if v - max(row) > -2000 else mp.mpf(0) for v in row]
            others = sum(power for i, power in enumerate(powers) if i != label)
            slopes = [power / sum(powers) for power in powers]
            slopes[label] = -others / sum(powers)
            if not powers[label]:
                return mp.log(others) + max(row) - row[label], slopes
            return mp.log1p(others / powers[label]), slopes

    check_loss("cross_entropy", width, outputs, labels, expected)


def test_cross_entropy_of_a_confident_network():
    """Its derivatives sum to 0, as those of any other."""
    for width, margin in ((32, 17.5), (64, 37.42994775023705), (32, 80.0)):
        f = torch.tensor([[[margin, 0.0]]], dtype=DTYPES[width])
        out, label = torch.empty_like(f), torch.zeros(1, 1, dtype=torch.int64)
        loss = LOSSES["cross_entropy"]
        expected = pytest.approx(math.exp(-f[0, 0, 0].item()), rel=1e-5)
        assert loss.value_and_derivative(f, label, out).item() == loss.values(f, label).item() == expected
        assert out.sum().item() == 0
        assert out[0, 0, 1].item() == expected


@given(st.data(), widths)
@settings(max_examples=60, deadline=None)
def test_mse_of_targets_and_classes(data, width):
    outputs = data.draw(rows(width, 2))
    targets = data.draw(
        st.lists(st.lists(reals(width), min_size=2, max_size=2), min_size=len(outputs), max_size=len(outputs))
    )

    def to_targets(row, target):
        errors = [v - mp.mpf(t) for v, t in zip(row, target, strict=True)]
        return sum(e * e for e in errors) / 2, errors

    check_loss("targets", width, outputs, targets, to_targets)
    check_loss("mse", width, outputs, [0] * len(outputs), lambda row, label: to_targets(row, [1, 0]))


@pytest.mark.parametrize("name", ["logistic", "exponential"])
@given(st.data(), widths)
@settings(max_examples=60, deadline=None)
def test_losses_of_the_margin(name, data, width):
    outputs = data.draw(rows(width, 1))
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(outputs), max_size=len(outputs)))

    def expected(row, label):
        sign = 2 * label - 1
        z = -sign * row[0]
        with mp.workdps(60):
            if name == "exponential":
                value = mp.exp(min(z, mp.mpf(10**6)))
                return value, [-sign * value]
            small = mp.exp(-abs(z)) if abs(z) < 2000 else mp.mpf(0)
            slope = 1 / (1 + small) if z > 0 else small / (1 + small)
            return max(z, 0) + mp.log1p(small), [-sign * slope]

    check_loss(name, width, outputs, labels, expected)


def test_the_logistic_loss_where_its_exponential_overflows():
    """For f = -89, y = +1 the loss is 89, its derivative -1; log(1 + e^x) overflows from x = 88.73 on."""
    for width, margins in ((32, (88.0, 89.0, 1e9, 3e38)), (64, (709.0, 710.0, 1e300))):
        f = torch.tensor([[[-z] for z in margins]], dtype=DTYPES[width])
        labels, out = torch.ones(1, len(margins), dtype=torch.int64), torch.empty_like(f)
        loss = LOSSES["logistic"]
        assert loss.value_and_derivative(f[:, :2], labels[:, :2], out[:, :2]).item() == sum(margins[:2])
        assert loss.values(f, labels)[0].tolist() == f.neg()[0, :, 0].tolist()
        loss.value_and_derivative(f, labels, out)
        assert out.flatten().tolist() == [-1.0] * len(margins)


def test_half_a_square_may_be_held_where_the_square_is_not():
    f, labels = torch.tensor([[[2.5e19]]]), torch.zeros(1, 1, 1)
    assert LOSSES["mse"].values(f, labels).item() == pytest.approx(3.125e38)
    assert LOSSES["mse"].value_and_derivative(f, labels, torch.empty_like(f)).item() == pytest.approx(
        3.125e38
    )


def test_accuracy_of_ties_infinities_and_nan():
    nan, inf = math.nan, math.inf
    outputs = torch.tensor(
        [[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [inf, 0.0, inf], [-inf, 3.0, 0.0], [nan, 0.0, 1.0]]
    )
    # The first of equal outputs counts; NaN is never right.
    found = [correct(outputs, torch.full((5,), label)).tolist() for label in (0, 1, 2)]
    assert [row.index(True) if True in row else None for row in zip(*found, strict=True)] == [
        0,
        1,
        0,
        1,
        None,
    ]
    single = torch.tensor([[nan], [inf], [-inf], [-0.0]])
    assert correct(single, torch.tensor([0, 1, 0, 0])).tolist() == [False, True, True, True]
    assert correct(single, torch.tensor([1, 0, 1, 1])).tolist() == [False, False, False, False]


# Evaluations and training


def line(slope: float) -> tuple[Network, Dataset]:
    """f(x) = slope x, on one input 1 of class 1."""
    split = Split(np.ones((2, 1), np.float32), np.array([1, 1], np.int64))
    network = Network(
        weights=(torch.ones(1, 1), torch.tensor([[slope]])),
        biases=(),
        parameterization=preset("sp", 1),
        activation="identity",
        loss="logistic",
        dataset="registered:line",
        base_learning_rate=1.0,
        seed=0,
        step=0,
    )
    return network, Dataset("registered:line", split, split, 2)


@pytest.mark.parametrize("margin", [-89.0, -1e9, -1e30, 0.0, 20.0, 87.0])
def test_both_evaluations_and_the_training_loss_agree(margin: float):
    network, data = line(margin)
    expected = np.logaddexp(0.0, -margin)
    assert evaluate(network, data.test).loss == pytest.approx(expected, rel=1e-6)
    assert evaluate(network, data.test).accuracy == (margin > 0)
    config = PackConfig("registered:line", 1, 1, "identity", 2, 1, loss="logistic", bias="none")
    trainer = Trainer(config, [RunConfig(preset("sp", 1), 1e-6, 0)], data)
    for weight, value in zip(trainer.pack.weights, network.weights, strict=True):
        weight[0].copy_(value)
    assert evaluate_pack(trainer.pack, data.test).loss[0] == pytest.approx(expected, rel=1e-6)
    first = {metric: value for _, metric, step, value in trainer.advance().points.rows() if step == 1}
    assert first["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_training_through_margins_of_hundreds_does_not_diverge():
    """Standard parameterization with a much too large first rate: at update 2 a margin is below -89."""
    data = load_dataset("single-index:d=16,n=256,test=128,labels=sign")
    config = PackConfig(data.name, 2, 256, "relu", 32, 60, loss="logistic", metrics_interval=1)
    trainer = Trainer(config, [RunConfig(preset("sp", 2), 0.5, 0)], data)
    points = trainer.advance().points
    assert trainer.diverged == {}
    rows_ = {(metric, step): value for _, metric, step, value in points.rows()}
    assert rows_["train_loss", 60] == pytest.approx(0.445, abs=0.02)
    assert rows_["test_loss", 60] == pytest.approx(0.870, abs=0.02)


# Activations


def cut(h, function, beyond, low=-2000):
    """A function of h, with its limit for h < low, where mpmath is slow."""
    return function(h) if h > low else mp.mpf(beyond)


def normal(h):
    return mp.mpf(h > 0) if abs(h) > 60 else mp.ncdf(h)


def density(h):
    return mp.mpf(0) if abs(h) > 60 else mp.npdf(h)


def logistic(h):
    return 1 / (1 + mp.exp(-h)) if h > -2000 else mp.mpf(0)


def power(p):
    return lambda h: (max(h, 0) ** p, p * max(h, 0) ** (p - 1))


# phi and phi' of an mpmath number.
EXACT = {
    "relu": lambda h: (max(h, 0), mp.mpf(h > 0)),
    "leaky_relu": lambda h: (h, mp.mpf(1)) if h > 0 else (h * mp.mpf(0.01), mp.mpf(0.01)),
    "gelu": lambda h: (h * normal(h), normal(h) + h * density(h)),
    "elu": lambda h: (h, mp.mpf(1)) if h > 0 else (cut(h, mp.expm1, -1), cut(h, mp.exp, 0)),
    "tanh": lambda h: (mp.mpf(mp.sign(h)), mp.mpf(0)) if abs(h) > 2000 else (mp.tanh(h), mp.sech(h) ** 2),
    "sigmoid": lambda h: (logistic(h), logistic(h) * logistic(-h)),
    "identity": lambda h: (h, mp.mpf(1)),
    "silu": lambda h: (h * logistic(h), logistic(h) * (1 + h * logistic(-h))),
    "softplus": lambda h: (max(h, 0) + cut(-abs(h), lambda v: mp.log1p(mp.exp(v)), 0), logistic(h)),
    "erf": lambda h: (mp.sign(h) if abs(h) > 60 else mp.erf(h), 2 * cut(-h * h, mp.exp, 0) / mp.sqrt(mp.pi)),
    "abs": lambda h: (abs(h), mp.sign(h)),
    "sin": lambda h: (mp.sin(h), mp.cos(h)),
    "relu^2": power(2),
    "relu^3/2": power(mp.mpf(3) / 2),
    "relu^7": power(7),
}
# torch's GELU forms h (1 + erf) before it halves it.
OVERFLOWS = {("gelu", 32): 1.7e38}


@pytest.mark.parametrize("name", EXACT)
@given(st.data(), widths)
@settings(max_examples=25, deadline=None)
def test_activations(name, data, width):
    arguments = data.draw(st.lists(reals(width), min_size=1, max_size=6))
    dtype, limit = DTYPES[width], OVERFLOWS.get((name, width), math.inf)
    h = torch.tensor(arguments, dtype=dtype)
    h = h[h.abs() < limit]
    phi = activation(name)
    kept = h.clone()
    x = torch.empty_like(h) if phi.keeps_preactivation else kept
    phi.forward(kept, x)
    slope = torch.ones_like(h)
    applied = phi.apply(h)
    phi.backward(slope, kept, x)
    for argument, one, two, derivative in zip(*(t.tolist() for t in (h, x, applied, slope)), strict=True):
        with mp.workdps(360 if name == "sin" else 60):  # digits of the argument before the point
            value, exact = EXACT[name](mp.mpf(argument))
            check(one, value, dtype)
            check(two, value, dtype)
            check(derivative, exact, dtype)


@pytest.mark.parametrize("name", EXACT)
def test_bfloat16_rounds_what_is_computed(name):
    """Half precision of matmuls: the value in single precision, rounded (bf16 has its range)."""
    h = torch.tensor([0.0, 1e-30, -1e-30, 1.5, -1.5, 12.0, -12.0, 150.0, -150.0, 1e30, -1e30]).bfloat16()
    phi = activation(name)
    x = torch.empty_like(h) if phi.keeps_preactivation else h.clone()
    phi.forward(h.clone() if not phi.keeps_preactivation else h, x)
    with mp.workdps(60):
        for argument, found in zip(h.tolist(), x.tolist(), strict=True):
            true = EXACT[name](mp.mpf(argument))[0]
            if abs(true) < 3e38:
                assert abs(found - true) <= 0.01 * max(abs(true), 0.01), (argument, found, true)


@pytest.mark.parametrize("name", EXACT)
def test_infinite_preactivations_warn_of_nothing(name: str):
    """A run that blows up in a pack shows it by its loss, not by a warning of numpy."""
    h = torch.tensor([math.inf, -math.inf, math.nan])
    phi = activation(name)
    x = torch.empty_like(h) if phi.keeps_preactivation else h
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phi.forward(h, x)
        phi.backward(torch.ones_like(h), h, x)
    assert x[2].isnan()
