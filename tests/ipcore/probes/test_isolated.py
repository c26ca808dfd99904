"""Isolated updates against plain autograd and the formulas of the optimizers, on each network by itself."""

from dataclasses import replace

import pytest
import torch

from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.engine.autograd import AutogradEngine
from ipcore.models import ResidualMlp
from ipcore.probes.single_update import from_step
from ipcore.randomness import epoch_batches, probe_examples
from ipcore.theory import custom, preset
from ipcore.training import checkpoint
from ipcore.training.trainer import Trainer

WIDTH, BATCH, EXAMPLES = 12, 8, 6
PROBES = Probes(("isolated_updates",), interval=1, examples=EXAMPLES)
CONFIG = PackConfig("digits", 2, WIDTH, "tanh", BATCH, 4, probes=PROBES)
SETTINGS = OptimizerSettings(epsilon=0.01, momentum=0.7)


def run_of(name: str, seed: int = 0, **more) -> RunConfig:
    return RunConfig(preset(name, 2), 0.3, seed, settings=SETTINGS, **more)


def measured(trainer: Trainer) -> dict[tuple[int, str, int], float]:
    rows = trainer.advance().points.rows()
    return {(run, name, step): value for run, name, step, value in rows if "/" in name}


def gradients(trainer: Trainer, data: Dataset, run: int, step: int):
    """At the weights of step 0: dL/dW^l and dL/db^l on the batch of an update; x_0^{l-1} on the examples."""
    weights = [w[run].clone().requires_grad_() for w in trainer.pack.weights]
    biases = [b[run].clone().requires_grad_() for b in trainer.pack.biases]
    batch = epoch_batches(trainer.runs[run].seed, 0, len(data.train), BATCH)[step - 1]

    def forward(x):
        below = []
        for i, weight in enumerate(weights):
            below.append(x)
            x = x @ weight.T + (biases[i] if i < len(biases) else 0)
            x = torch.tanh(x) if i < len(weights) - 1 else x
        return x, below

    inputs = torch.from_numpy(data.train.inputs).double()
    f, _ = forward(inputs[batch])
    loss = torch.nn.functional.cross_entropy(f, torch.from_numpy(data.train.labels)[batch])
    found = torch.autograd.grad(loss, [*weights, *biases])
    _, below = forward(inputs[probe_examples(len(data.train), EXAMPLES)])
    return found[: len(weights)], found[len(weights) :], [x.detach() for x in below]


def update(optimizer: str, g: torch.Tensor, a: float, c: float, d: float) -> torch.Tensor:
    """The first update of an effective tensor at base rate 1, from the optimizers' definitions."""
    m = float(WIDTH)
    if optimizer in {"sgd", "momentum"}:
        return -(m ** (-c - 2 * a)) * g
    if optimizer == "adam":
        return -(m ** (-c - a)) * g / (g.abs() + SETTINGS.epsilon * m ** (a - d))
    return -(m ** (-c - a)) * g.sign()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "signum", "lion"])
@pytest.mark.parametrize("name", ["mup", "ip-llr"])
def test_every_layer_and_step_is_what_autograd_says(tiny: Dataset, optimizer: str, name: str):
    """Five batches of eight are an epoch of 40 examples. IP-LLR's first rates are others than later ones."""
    schedule = Schedule("linear", warmup_steps=1, final_fraction=0.25)
    config = replace(CONFIG, optimizer=optimizer, schedule=schedule)
    runs = [run_of("ntk", 3), run_of(name, 1)]
    start = Trainer(config, runs, tiny, dtype=torch.float64)
    found = measured(Trainer(config, runs, tiny, dtype=torch.float64))
    p = runs[1].parameterization
    for step, factor in ((1, 0.5), (2, 1.0), (3, 0.625), (4, 0.25)):
        by_matrix, by_bias, below = gradients(start, tiny, 1, step)
        phase = p.phase_at(step - 1)
        for i, (g, x) in enumerate(zip(by_matrix, below, strict=True)):
            exponents = float(p.a[i]), float(phase.c[i]), float((phase.d or (0,) * 3)[i])
            change = 0.3 * factor * update(optimizer, g, *exponents)
            expected = float((x @ change.T).abs().mean())
            assert found[1, f"isolated_change/{i + 1}", step] == pytest.approx(expected, rel=1e-9)
        exponents = float(p.a[0]), float(phase.c[0]), float((phase.d or (0,) * 3)[0])
        expected = float((0.3 * factor * update(optimizer, by_bias[0], *exponents)).abs().mean())
        assert found[1, "isolated_bias_change/1", step] == pytest.approx(expected, rel=1e-9)
    # There is no update before step 0, and no bias above the first layer.
    assert {key for key in found if key[2] == 0 or key[1] in {"isolated_bias_change/2"}} == set()


def test_biases_with_exponents_of_their_own_are_of_the_runs_that_have_them(tiny: Dataset):
    runs = [run_of("mup"), run_of("ip-bias", 1)]
    start = Trainer(CONFIG, runs, tiny, dtype=torch.float64)
    found = measured(Trainer(CONFIG, runs, tiny, dtype=torch.float64))
    p = runs[1].parameterization
    assert p.biases is not None
    for step in (1, 2):
        _, by_bias, _ = gradients(start, tiny, 1, step)
        for i, g in enumerate(by_bias):
            c = p.biases.phase_at(step - 1).c[i]
            change = 0.3 * update("sgd", g, float(p.biases.a[i]), float(c), 0.0)
            assert found[1, f"isolated_bias_change/{i + 1}", step] == pytest.approx(
                float(change.abs().mean())
            )
    of_first = {name for run, name, _ in found if run == 0 and "bias" in name}
    assert of_first == {"isolated_bias_change/1"}


def test_weight_decay_is_no_part_of_it(tiny: Dataset):
    decaying = replace(run_of("mup"), settings=replace(SETTINGS, weight_decay=0.5))
    found = [measured(Trainer(CONFIG, [run], tiny)) for run in (run_of("mup"), decaying)]
    assert found[0] == found[1]


def test_calibrated_first_rates_count_at_step_1_only(tiny: Dataset):
    runs = [run_of("ip-llr"), run_of("ip-llr", calibration=Calibration())]
    trainer = Trainer(CONFIG, runs, tiny, dtype=torch.float64)
    rates, found = trainer.calibrated_rates[1], measured(trainer)
    for layer in (1, 2, 3):
        plain, calibrated = ([found[run, f"isolated_change/{layer}", s] for s in (1, 2)] for run in (0, 1))
        assert calibrated[0] / plain[0] == pytest.approx(rates[layer - 1] / 0.3)
        assert calibrated[1] == pytest.approx(plain[1])


def test_small_updates_are_not_lost_in_the_rounding_of_the_weights(tiny: Dataset):
    """Changes are linear in the rate down to where W + Delta W is W in single precision."""
    rates = (1e-3, 1e-12)
    runs = [RunConfig(preset("mup", 2), rate, 0) for rate in rates]
    found = measured(Trainer(CONFIG, runs, tiny))
    for layer in (1, 2, 3):
        large, small = (found[run, f"isolated_change/{layer}", 2] for run in (0, 1))
        assert small / large == pytest.approx(1e-9, rel=1e-5)


def test_it_does_not_depend_on_what_was_trained_before(tiny: Dataset, tmp_path):
    whole = measured(Trainer(CONFIG, [run_of("mup")], tiny))
    first, second = Trainer(CONFIG, [run_of("mup")], tiny), Trainer(CONFIG, [run_of("mup")], tiny)
    first.advance(max_steps=2)
    checkpoint.save(first, tmp_path / "c.safetensors")
    checkpoint.restore(second, tmp_path / "c.safetensors")
    resumed = measured(second)
    assert resumed == {key: whole[key] for key in resumed}
    assert {step for _, _, step in resumed} == {3, 4}
    # Training that goes wrong says nothing of the weights of step 0.
    nan = Trainer(CONFIG, [run_of("mup")], tiny)
    nan.pack.weights[1].mul_(2.0)
    assert measured(nan)[0, "isolated_change/2", 1] == whole[0, "isolated_change/2", 1]


def test_other_engines_and_models_have_it_too(tiny: Dataset):
    runs = [run_of("mup"), run_of("ip-llr", 1)]
    pack = measured(Trainer(CONFIG, runs, tiny, dtype=torch.float64))
    autograd = measured(Trainer(CONFIG, runs, tiny, dtype=torch.float64, engine=AutogradEngine))
    assert autograd == pytest.approx(pack, rel=1e-9)
    config = replace(CONFIG, model=ResidualMlp(), optimizer="muon")
    found = measured(Trainer(config, [RunConfig(preset("mup", 3), 0.1, 0)], tiny))
    assert {name for _, name, _ in found} == {
        *(f"isolated_change/{layer}" for layer in (1, 2, 3, 4)),
        "isolated_bias_change/1",
    }


def test_the_exponents_of_a_later_step():
    p = custom(2, a=["0"] * 3, b=["0"] * 3, c=["1/2"] * 3, c_first_step=["0", "1", "2"])
    assert from_step(p, 0).phases == p.phases[:1]
    assert [phase.start for phase in from_step(p, 3).phases] == [0]
    assert from_step(p, 3).c_at(0) == p.c_at(3) != p.c_at(0)
