"""Models describe their networks: tensors, roles, shapes, the forward pass and its cost."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from ipcore.errors import ConfigError
from ipcore.models import MLP, MODELS, Architecture, Mlp, ResidualMlp, Role, Size, model_from, model_to
from ipcore.models.activations import activation
from ipcore.models.apply import apply
from ipcore.models.model import depth_of
from ipcore.models.tally import tally

PLAIN = [Mlp(), *(ResidualMlp(beta, k) for beta in ("depth^-1/2", "depth^-1", "1") for k in (1, 2))]
EVERY = [*PLAIN, Mlp("rms"), ResidualMlp("depth^-1", 2, "rms")]


def test_an_mlp_is_a_chain():
    specs = Architecture(MLP, hidden_layers=2, width=4, input_dim=3, output_dim=2).tensors(biases=3)
    assert [(spec.name, spec.role, spec.shape(4)) for spec in specs] == [
        ("w1", Role.INPUT, (4, 3)), ("w2", Role.HIDDEN, (4, 4)), ("w3", Role.READOUT, (2, 4)),
        ("b1", Role.BIAS, (4,)), ("b2", Role.BIAS, (4,)), ("b3", Role.BIAS, (2,)),
    ]  # fmt: skip
    assert specs[1].axes == (Size(multiple=1), Size(multiple=1))


@pytest.mark.parametrize(("matrices", "layers"), [(1, 5), (2, 8)])
def test_a_residual_mlp_has_an_input_layer_blocks_and_a_readout(matrices: int, layers: int):
    model = ResidualMlp(block_matrices=matrices)
    specs = Architecture(model, hidden_layers=3, width=4, input_dim=3, output_dim=2).tensors(biases=0)
    assert len(specs) == layers == model.layers(3)
    assert [spec.role for spec in specs] == [Role.INPUT, *[Role.HIDDEN] * (layers - 2), Role.READOUT]


@pytest.mark.parametrize("model", EVERY)
def test_widths_scale_hidden_sizes_alone(model):
    for width in (1, 8):
        sizes = Architecture(model, 2, width, 5, 3)
        assert sizes.matrices[0] == (width, 5)
        assert sizes.matrices[-1] == (3, width)
        assert set(sizes.matrices[1:-1]) == {(width, width)}


@pytest.mark.parametrize("model", EVERY)
def test_the_depth_is_found_from_the_number_of_matrices(model):
    assert [depth_of(model, model.layers(L)) for L in (1, 2, 7)] == [1, 2, 7]
    with pytest.raises(ValueError, match=model.name):
        depth_of(model, 1)


def test_no_residual_mlp_of_two_matrices_per_block_has_an_odd_number_of_matrices():
    with pytest.raises(ValueError, match="has 5 weight matrices"):
        depth_of(ResidualMlp(block_matrices=2), 5)


@pytest.mark.parametrize("model", EVERY)
def test_a_model_is_read_back_from_its_text(model):
    assert model_from(model_to(model)) == model
    assert MODELS[model.name] is type(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "unknown model ''"),
        ({"name": "residual_mlp"}, "did you mean 'residual-mlp'"),
        ({"name": "mlp", "block_matrices": 2}, "block_matrices: unknown setting of mlp"),
        ({"name": "residual-mlp", "blocks": 2}, "did you mean 'block_matrices'"),
        ({"name": "residual-mlp", "block_matrices": 3}, "must be 1 or 2, not 3"),
        (
            {"name": "mlp", "normalization": "layer"},
            "normalization: must be one of 'none', 'rms', not 'layer'",
        ),
        ({"name": "mlp", "normalization": ["rms"]}, "must be one of 'none', 'rms', not .'rms'."),
        ({"name": "residual-mlp", "normalization": True}, "must be one of 'none', 'rms', not True"),
        ({"name": "residual-mlp", "block_matrices": True}, "must be 1 or 2, not True"),
        ({"name": "residual-mlp", "branch_multiplier": "L^-1"}, "'depth.-1/2', 'depth.-1', '1', not 'L.-1'"),
    ],
)
def test_wrong_settings_are_named(data, message: str):
    with pytest.raises(ConfigError, match=message):
        model_from(data)


def test_residual_blocks_by_hand():
    """One neuron, ReLU, L = 2 and beta = 1/2 (depth^-1), x = 1.

    One matrix per block: h^1 = 2, h^2 = 2 + 3 * 2/2 = 5, h^3 = 5 - 4 * 5/2 = -5: x^3 = 0, f = 0.
    Two: h^1 = 2, h^2 = 3 * 2 = 6, h^3 = 2 + 5 * 6/2 = 17; h^4 = -17 (x = 0), h^5 = 17; f = 7 * 17.
    """
    one = [torch.full((1, 1, 1), value) for value in (2.0, 3.0, -4.0, 7.0)]
    two = [torch.full((1, 1, 1), value) for value in (2.0, 3.0, 5.0, -1.0, 9.0, 7.0)]
    for matrices, weights, f in ((1, one, 0.0), (2, two, 119.0)):
        sizes = Architecture(ResidualMlp("depth^-1", matrices), 2, 1, 1, 1)
        assert apply(sizes, activation("relu"), weights, [], torch.ones(1, 1)).item() == f


def test_normalized_preactivations_by_hand():
    """Two neurons, ReLU, x = 1, rows of W^1 3 and 4: rms(h^1) = 5 / sqrt(2), so x^1 = (3, 4) sqrt(2) / 5.

    A perceptron: f = x^1_1 + 2 x^1_2 = 11 sqrt(2) / 5, the same if W^1 is ten times as large. One block with
    beta = 1 and the identity: h^2 = h^1 + x^1, again along (3, 4), so f is the same, too.
    """
    first, square, last = torch.tensor([[3.0], [4.0]]), torch.eye(2), torch.tensor([[1.0, 2.0]])
    for model, weights in (
        (Mlp("rms"), [first, last]),
        (Mlp("rms"), [10 * first, last]),
        (ResidualMlp("1", 1, "rms"), [first, square, last]),
    ):
        sizes = Architecture(model, 1, 2, 1, 1)
        batched = [weight.unsqueeze(0) for weight in weights]
        f = apply(sizes, activation("relu"), batched, [], torch.ones(1, 1))
        assert f.item() == pytest.approx(11 * math.sqrt(2) / 5)


def test_with_zero_branches_only_the_ends_are_left():
    torch.manual_seed(0)
    sizes = Architecture(ResidualMlp("1", 2), 3, 6, 4, 2)
    weights = [torch.randn(2, *matrix) for matrix in sizes.matrices]
    for branch in weights[2:-1:2]:
        branch.zero_()
    x = torch.randn(5, 4)
    f = apply(sizes, activation("tanh"), weights, [], x)
    assert torch.allclose(f, torch.tanh(x @ weights[0].mT) @ weights[-1].mT, atol=1e-6)


@pytest.mark.parametrize("L", [1, 4, 64])
def test_branch_multipliers(L: int):
    found = [ResidualMlp(name).beta(L) for name in ("depth^-1/2", "depth^-1", "1")]
    assert found == pytest.approx([1 / math.sqrt(L), 1 / L, 1])


def test_the_cost_of_an_mlp():
    """d = 3, m = 4, L = 2, C = 2: 36 multiply-adds forward; an update twice 12, thrice 16 + 8."""
    counted = tally(Architecture(MLP, 2, 4, 3, 2))
    assert (counted.forward, counted.update) == (36, 2 * 12 + 3 * 16 + 3 * 8)
    assert counted.values == 4 + 4 + 4 + 4 + 2  # h and x of two layers, f


def test_a_normalization_yields_as_many_numbers_and_a_root_mean_square():
    plain, normalized = (tally(Architecture(Mlp(name), 2, 4, 3, 2)) for name in ("none", "rms"))
    assert (normalized.forward, normalized.update) == (plain.forward, plain.update)
    assert normalized.values - plain.values == 2 * (4 + 1)


@pytest.mark.parametrize("model", EVERY)
def test_every_matrix_is_used_once(model):
    sizes = Architecture(model, 3, 8, 5, 2)
    counted = tally(sizes)
    assert counted.forward == sum(a * b for a, b in sizes.matrices)
    assert counted.update == 3 * counted.forward - 8 * 5
    assert all(inputs == outputs for (outputs, _), (_, inputs) in pairwise(sizes.matrices))
