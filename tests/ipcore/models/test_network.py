from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("safetensors")

from safetensors import safe_open

from ipcore import Network, evaluate
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split
from ipcore.errors import WeightsError
from ipcore.models import Mlp, Model, ResidualMlp
from ipcore.models.weight_header import FORMAT, HEADER
from ipcore.theory import custom, preset
from ipcore.training.trainer import Trainer

CONFIG = PackConfig("digits", 2, 12, "gelu", batch_size=8, steps=6)


@pytest.fixture
def trained(tiny: Dataset) -> Trainer:
    trainer = Trainer(
        CONFIG, [RunConfig(preset("ip-llr", 2), 0.25, 7), RunConfig(preset("mup", 2), 1.0, 7)], tiny
    )
    trainer.advance()
    return trainer


def test_reloaded_weights_give_the_same_numbers_bit_for_bit(trained: Trainer, tiny: Dataset, tmp_path: Path):
    for position in range(2):
        network = trained.network(position)
        network.save(tmp_path / "w", {"label": "x"})
        assert evaluate(Network.load(tmp_path / "w"), tiny.test) == evaluate(network, tiny.test)


def test_the_header_says_what_the_file_holds(trained: Trainer, tmp_path: Path):
    trained.network(0).save(tmp_path / "w", {"label": "ip-llr", "run": "experiments/e/runs/r00000"})
    with safe_open(tmp_path / "w", framework="np") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert set(HEADER) <= set(header)
    assert header["format"] == FORMAT
    assert json.loads(header["parameterization"]) == {
        "a": ["0", "1", "1"],
        "b": ["0", "0", "0"],
        "phases": [{"start": 0, "c": ["-3/2", "-2", "-3/2"]}, {"start": 1, "c": ["-1", "-2", "-1"]}],
    }
    assert (header["base_learning_rate"], header["seed"], header["step"]) == ("0.25", "7", "6")
    assert (header["width"], header["input_dim"], header["output_dim"]) == ("12", "5", "3")
    assert header["label"] == "ip-llr"
    assert {name: array.shape for name, array in arrays.items()} == {
        "w1": (12, 5),
        "w2": (12, 12),
        "w3": (3, 12),
        "b1": (12,),
    }


def test_a_loaded_network_is_the_saved_one(trained: Trainer, tmp_path: Path):
    network = trained.network(0)
    network.save(tmp_path / "w", {"label": "x"})
    loaded = Network.load(tmp_path / "w")
    assert loaded.parameterization == network.parameterization
    assert loaded.header() == {**network.header(), "label": "x"}
    assert all(torch.equal(a, b) for a, b in zip(loaded.weights, network.weights, strict=True))


def test_files_hold_w_without_its_multiplier(trained: Trainer):
    """f = m^{-1} w^3 phi(m^{-1} w^2 phi(w^1 x + b^1)) for IP, by hand."""
    network = trained.network(0)
    w1, w2, w3 = network.weights
    x = torch.randn(4, 5)
    gelu = torch.nn.functional.gelu
    expected = gelu(gelu(x @ w1.T + network.biases[0]) @ w2.T / 12) @ w3.T / 12
    assert torch.allclose(network.forward(x), expected, rtol=1e-5, atol=1e-7)


def test_numpy_arrays_make_a_network_too(trained: Trainer, tiny: Dataset):
    network = trained.network(1)
    arrays = {name: tensor.numpy() for name, tensor in network.arrays().items()}
    again = Network.from_arrays(arrays, network.header())
    assert evaluate(again, tiny.test) == evaluate(network, tiny.test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other/9"}, "this version reads"),
        ({"activation": "step"}, "unknown activation"),
        ({"parameterization": "nonsense"}, "malformed"),
        ({"parameterization": "[1]"}, "not a JSON object"),
        ({"parameterization": '{"a": ["0", "x"]}'}, "malformed"),
        ({"parameterization": '{"a": ["0", "1"], "b": ["0", "0"], "phases": [{}]}'}, "malformed"),
        ({"bias": "every"}, "does not fit"),
        ({"bias": "some"}, "does not fit"),
        ({"loss": "hinge"}, "unknown loss"),
        ({"seed": "seven"}, "malformed"),
        ({"width": "13"}, "w1 is 12x5"),
        ({"dtype": "float64"}, "torch.float32"),
    ],
)
def test_bad_headers_are_explained(trained: Trainer, change: dict[str, str], message: str):
    network = trained.network(0)
    with pytest.raises(WeightsError, match=message):
        Network.from_arrays(network.arrays(), {**network.header(), **change})


def test_files_of_the_first_format_are_read(tiny: Dataset):
    """A file in the format iplab-weights/1, w = 1: f by hand with L = 1, m = 2, IP (a = 0, 1)."""
    header = {
        "format": "iplab-weights/1", "hidden_layers": "1", "width": "2", "input_dim": "5", "output_dim": "3",
        "activation": "relu", "bias": "first", "loss": "cross_entropy", "dataset": "digits", "a": "0,1",
        "b": "0,0", "c": "0:-3/2,-1;1:-1,-1", "base_learning_rate": "0.1", "seed": "0", "step": "9",
        "dtype": "float32", "sha256": "of the tensors", "label": "x",
    }  # fmt: skip
    arrays = {"w1": torch.ones(2, 5), "w2": torch.ones(3, 2), "b1": torch.ones(2)}
    network = Network.from_arrays(arrays, header)
    assert network.parameterization == custom(1, ["0", "1"], ["0", "0"], ["-1", "-1"], ["-3/2", "-1"])
    assert (network.optimizer, dict(network.extra)) == ("sgd", {"label": "x"})
    assert network.forward(torch.ones(1, 5)).tolist() == [[6.0] * 3]
    # It is written again in the current format.
    again = Network.from_arrays(network.arrays(), network.header())
    assert again.header()["format"] == FORMAT
    assert evaluate(again, tiny.test) == evaluate(network, tiny.test)


def test_missing_parts_are_named(trained: Trainer, tmp_path: Path):
    network = trained.network(0)
    arrays = network.arrays()
    del arrays["w2"]
    with pytest.raises(WeightsError, match="w2"):
        Network.from_arrays(arrays, network.header())
    header = network.header()
    del header["seed"], header["loss"]
    with pytest.raises(WeightsError, match="loss, seed"):
        Network.from_arrays(network.arrays(), header)
    network.save(tmp_path / "w")
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-1])
    with pytest.raises(WeightsError, match="torn"):
        Network.load(tmp_path / "w")
    with pytest.raises(ValueError, match="may not be called seed"):
        network.save(tmp_path / "w", {"seed": "1"})


def test_evaluation_is_the_same_on_any_thread_count_and_restores_it(trained: Trainer):
    rng = np.random.default_rng(1)
    split = Split(rng.standard_normal((3000, 5)).astype(np.float32), rng.integers(0, 3, 3000))
    before = torch.get_num_threads()
    results = set()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.add(evaluate(trained.network(0), split))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(results) == 1


def test_evaluation_by_hand(trained: Trainer):
    """All weights 0: every class has probability 1/3 and the first one is predicted."""
    network = trained.network(0)
    zero = Network.from_arrays(
        {k: torch.zeros_like(v) for k, v in network.arrays().items()}, network.header()
    )
    result = evaluate(zero, Split(np.ones((4, 5), np.float32), np.array([0, 0, 1, 2])))
    assert result.loss == pytest.approx(np.log(3))
    assert result.accuracy == 0.5


def test_inputs_that_do_not_fit_are_refused(trained: Trainer):
    network = trained.network(0)
    for inputs in (np.ones((0, 5), np.float32), np.ones((2, 4), np.float32)):
        with pytest.raises(ValueError, match="5"):
            evaluate(network, Split(inputs, np.zeros(len(inputs), np.int64)))


@pytest.mark.parametrize(
    "model",
    [ResidualMlp("depth^-1", 1), ResidualMlp("depth^-1", 2), ResidualMlp("1", 1, "rms"), Mlp("rms")],
    ids=repr,
)
def test_other_models_read_back(tiny: Dataset, tmp_path: Path, model: Model):
    config = PackConfig("digits", 3, 12, "relu", 8, 4, model=model)
    runs = [RunConfig(preset("mup", config.layers - 1), 0.1, 0)]
    trainer = Trainer(config, runs, tiny)
    trainer.advance()
    network = trainer.network(0)
    network.save(tmp_path / "w", {"label": "x"})
    again = Network.load(tmp_path / "w")
    assert (again.model, again.hidden_layers, again.width) == (model, 3, 12)
    assert again.header()["format"] == "iplab-weights/3"
    assert evaluate(again, tiny.test) == evaluate(network, tiny.test)
    inputs = torch.from_numpy(tiny.test.inputs)
    assert torch.allclose(network.forward(inputs), trainer.pack.infer(inputs)[0], rtol=1e-5, atol=1e-6)
    for change, message in (
        ({"model": "mlp"}, "malformed"),
        ({"model": '{"name": "residual-mlp", "block_matrices": 2}', "hidden_layers": "4"}, "weight matrices"),
        ({"model": '{"name": "mlp", "normalization": "batch"}'}, "must be one of 'none', 'rms'"),
        ({"model": '{"name": "residual-mlp", "block_matrices": 3}'}, "must be 1 or 2"),
        ({"model": "[1]"}, "malformed"),
        ({"hidden_layers": "9"}, "with 9 hidden layers"),
        ({"format": "iplab-weights/4"}, "reads up to 'iplab-weights/3'"),
    ):
        with pytest.raises(WeightsError, match=message):
            Network.from_arrays(network.arrays(), {**network.header(), **change})


def test_perceptrons_are_written_as_earlier_versions_read_them(trained: Trainer):
    header = trained.network(0).header()
    assert header["format"] == "iplab-weights/2"
    assert set(header) == set(HEADER)
