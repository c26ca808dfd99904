"""With step 0's loss derivative taken at the same f_0, IP-LLR and HP are the same networks from step 1 on.

For a 1-homogeneous activation h_IP^l = m^{-(l-1)/2} h_muP^l and dh_IP^l = m^{-(L-l)/2} dh_muP^l at step 0;
the large first rates undo both powers, and HP brings its initial hidden matrices to IP's weight m^{-1} w_0
after its first update (our reading of Hajjar et al., arXiv:2110.15596). What remains is f_0, of order
m^{-1/2} for muP and m^{-L/2} for IP, through which the first derivative differs. So here a loss takes its
first derivative at f = 0.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ipcore.config import OptimizerSettings, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.losses import LOSSES, Loss
from ipcore.theory import preset
from ipcore.training.trainer import Trainer


def first_derivative_at_zero(loss: Loss) -> Loss:
    """A loss whose first derivative is that at f = 0; for one pack that is not calibrated."""
    calls = 0

    def step(outputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return loss.value_and_derivative(outputs * (calls > 1), labels, out)

    return Loss(loss.values, step, loss.check_labels)


def distances(
    tiny: Dataset, activation: str, depth: int, width: int, *, other: str = "hp", decay: float = 0.0
) -> list[float]:
    """Relative distance of the outputs of IP-LLR and another preset on the test set at steps 1..8."""
    config = PackConfig("digits", depth, width, activation, batch_size=8, steps=8)
    settings = OptimizerSettings(weight_decay=decay)
    runs = [RunConfig(preset(name, depth), 0.5, 0, settings=settings) for name in ("ip-llr", other)]
    trainer = Trainer(config, runs, tiny, dtype=torch.float64)
    inputs = torch.from_numpy(tiny.test.inputs).double()
    found = []
    for _ in range(8):
        trainer.advance(max_steps=1)
        one, two = trainer.pack.infer(inputs)
        found.append(((one - two).norm() / one.norm()).item())
    return found


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs", "identity"])
def test_ip_llr_and_hp_agree_to_float_error(
    monkeypatch, tiny: Dataset, activation: str, depth: int, decay: float
):
    monkeypatch.setitem(LOSSES, "cross_entropy", first_derivative_at_zero(LOSSES["cross_entropy"]))
    assert max(distances(tiny, activation, depth, width=24, decay=decay)) < 1e-9


def test_at_their_own_f_0_they_differ(tiny: Dataset):
    assert min(distances(tiny, "relu", 3, width=24)) > 1e-3


def test_removed_initial_matrices_differ(monkeypatch, tiny: Dataset):
    monkeypatch.setitem(LOSSES, "cross_entropy", first_derivative_at_zero(LOSSES["cross_entropy"]))
    assert min(distances(tiny, "relu", 3, width=24, other="hpz")) > 1e-3


def test_an_activation_that_is_not_homogeneous_differs(monkeypatch, tiny: Dataset):
    monkeypatch.setitem(LOSSES, "cross_entropy", first_derivative_at_zero(LOSSES["cross_entropy"]))
    assert min(distances(tiny, "tanh", 3, width=24)) > 1e-3
