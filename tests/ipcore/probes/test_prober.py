"""What probes record of a pack, against plain autograd on each network and against numbers known before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ipcore.catalogue import METRICS, PROBES
from ipcore.config import Calibration, PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.models.activations import ACTIVATIONS
from ipcore.probes import memory
from ipcore.probes.quantities import QUANTITIES, definition
from ipcore.randomness import probe_examples
from ipcore.theory import custom, preset
from ipcore.training import checkpoint
from ipcore.training.recording import Points
from ipcore.training.trainer import Trainer

# Isolated updates are held against autograd in test_isolated.py; what looks at outputs in test_outputs.py and
# tests/ipcore/limits/test_paired.py.
ALL = Probes(
    tuple(name for name, probe in PROBES.items() if name != "isolated_updates" and not probe.of_outputs),
    interval=3,
    steps=(1,),
    examples=6,
)
CONFIG = PackConfig("digits", 2, 12, "tanh", batch_size=8, steps=7, probes=ALL)
RUNS = (
    RunConfig(preset("mup", 2), 0.1, 0),
    RunConfig(preset("ip-llr", 2), 0.1, 1, Calibration()),
    RunConfig(preset("ntk", 2), 0.5, 0),
)


def values(points: Points) -> dict[tuple[int, str, int], float]:
    """(run, metric, step) -> value of what probes recorded."""
    return {(run, name, step): value for run, name, step, value in points.rows() if name not in METRICS}


def effective(trainer: Trainer) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [w.clone() for w in trainer.pack.weights], [b.clone() for b in trainer.pack.biases]


def reference(weights, biases, run: int, a, width: int, x, y, phi=torch.tanh):
    """h^l, x^l, d loss_i / dh^l and dL / dw^l of one network, by autograd on w = m^a W."""
    w = [(W[run] * width ** float(e)).requires_grad_() for W, e in zip(weights, a, strict=True)]
    hs, xs = [], [x]
    for layer, (matrix, e) in enumerate(zip(w, a, strict=True)):
        h = xs[-1] @ (width ** -float(e) * matrix).mT
        hs.append(h + biases[layer][run] if layer < len(biases) else h)
        xs.append(phi(hs[-1]))
    loss = torch.nn.functional.cross_entropy(hs[-1], y, reduction="none")
    dh = torch.autograd.grad(loss.sum(), hs, retain_graph=True)
    return hs, xs, dh, torch.autograd.grad(loss.mean(), w)


@pytest.mark.parametrize(("activation", "bias"), [("tanh", "first"), ("relu", "none"), ("gelu", "first")])
def test_every_quantity_is_what_autograd_says(tiny: Dataset, activation: str, bias: str):
    config = replace(CONFIG, activation=activation, bias=bias)
    trainer = Trainer(config, RUNS, tiny, dtype=torch.float64)
    initial = effective(trainer)
    found = values(trainer.advance(max_steps=3).points)
    now = effective(trainer)
    chosen = probe_examples(40, 6)
    x = torch.from_numpy(tiny.train.inputs[chosen]).double()
    y = torch.from_numpy(tiny.train.labels[chosen])
    phi = ACTIVATIONS[activation].apply

    def mean(tensor: torch.Tensor) -> float:
        return float(tensor.detach().abs().mean())

    for run, settings in enumerate(RUNS):
        a = settings.parameterization.a
        h_0, x_0, _, _ = reference(*initial, run, a, 12, x, y, phi)
        h_t, x_t, dh, gradient = reference(*now, run, a, 12, x, y, phi)
        expected = {}
        for l in (1, 2, 3):  # noqa: E741 - the layer
            change = now[0][l - 1][run] - initial[0][l - 1][run]
            below = x_t[l - 1].detach()
            expected |= {
                f"h/{l}": mean(h_t[l - 1]),
                f"h_change/{l}": mean(h_t[l - 1] - h_0[l - 1]),
                f"dh/{l}": mean(dh[l - 1]),
                f"gradient/{l}": mean(gradient[l - 1]),
                f"update/{l}": mean(change),
            }
            if l > 1:
                passed_on = (x_t[l - 1] - x_0[l - 1]) @ initial[0][l - 1][run].mT
                # W_t x_t - W_0 x_t by itself: layers above the first have no bias here.
                expected |= {f"change_below/{l}": mean(passed_on), f"change_own/{l}": mean(below @ change.mT)}
            for name, matrix in (("initial", initial[0][l - 1][run]), ("update", change)):
                sizes = [t.square().mean().sqrt() for t in (below @ matrix.mT, matrix, below)]
                logarithm = torch.log(sizes[0] / sizes[1] / sizes[2]) / np.log(matrix.shape[1])
                expected[f"alignment_{name}/{l}"] = float(logarithm)
            ratios = {}
            if l > 1:
                ratios["change"] = initial[0][l - 1][run], (x_t[l - 1] - x_0[l - 1]).detach()
            if l == 2:
                ratios["backward"] = change.mT, dh[l - 1]
            for name, (matrix, acted_on) in ratios.items():
                sizes = [t.square().mean().sqrt() for t in (acted_on @ matrix.mT, matrix, acted_on)]
                logarithm = torch.log(sizes[0] / sizes[1] / sizes[2]) / np.log(matrix.shape[1])
                expected[f"alignment_{name}/{l}"] = float(logarithm)
            spectra = {"update": change}
            if l < 3:
                spectra["x"] = x_t[l].detach()
                expected |= {f"x/{l}": mean(x_t[l]), f"x_change/{l}": mean(x_t[l] - x_0[l])}
                X, Y = (np.asarray(f[l].detach() - f[l].detach().mean(0)) for f in (x_t, x_0))
                norms = np.linalg.norm(X.T @ X) * np.linalg.norm(Y.T @ Y)
                expected[f"cka/{l}"] = np.linalg.norm(Y.T @ X) ** 2 / norms
            for name, matrix in spectra.items():
                squares = np.linalg.svd(matrix, compute_uv=False) ** 2
                squared_trace = squares.sum() ** 2 / (squares**2).sum()
                expected[f"{name}_squared_trace_rank/{l}"] = squared_trace
                expected[f"{name}_stable_rank/{l}"] = squares.sum() / squares.max()
                expected[f"{name}_threshold_rank/{l}"] = (squares > 1e-3 * squares.max()).sum()
        assert {name for of, name, step in found if of == run and step == 3} == expected.keys()
        for name, value in expected.items():
            assert found[run, name, 3] == pytest.approx(value, rel=1e-8, abs=1e-13), name


def test_a_network_by_hand():
    """d = m = 1, two classes, ReLU: h^1 = w x, f = v h^1, with x = 1, w = 2, v = (1, -1), so f = (2, -2).

    What it is compared with is 0. The label is 0: with p = 1/(1 + e^4), d loss/df = (-p, p) and
    d loss/dh^1 = -p - p = -2p = dL/dw, dL/dv = (-p, p) x^1 = (-2p, 2p).
    """
    from ipcore.data import Split

    split = Split(np.ones((4, 1), np.float32), np.zeros(4, np.int64))
    data = Dataset("digits", split, split, classes=2)
    probes = Probes(("coordinates", "gradients"), steps=(0,), examples=3)
    config = PackConfig("digits", 1, 1, "relu", 2, 5, bias="none", probes=probes)
    trainer = Trainer(config, [RunConfig(preset("mup", 1), 0.1, 0)], data, dtype=torch.float64)
    assert trainer.measurements.prober is not None
    with torch.inference_mode():
        for kept in (
            *trainer.measurements.prober._weights,
            *(h for part in trainer.measurements.prober._h for h in part.values()),
        ):
            kept.zero_()
    trainer.pack.weights[0].fill_(2.0)
    trainer.pack.weights[1].copy_(torch.tensor([[[1.0], [-1.0]]]))
    found = values(trainer.advance(max_steps=1).points)
    p = 1 / (1 + np.exp(4))
    expected = {
        **{"h/1": 2, "h/2": 2, "x/1": 2, "h_change/1": 2, "h_change/2": 2, "x_change/1": 2},
        **{"dh/1": 2 * p, "dh/2": p, "gradient/1": 2 * p, "gradient/2": 2 * p, "update/1": 2, "update/2": 1},
    }
    assert {name: value for (_, name, _), value in found.items()} == pytest.approx(expected)


def test_at_step_0_nothing_has_changed(tiny: Dataset):
    found = values(Trainer(CONFIG, RUNS, tiny).advance(max_steps=1).points)
    at_0 = {name: value for (run, name, step), value in found.items() if (run, step) == (0, 0)}
    for layer in (1, 2, 3):
        assert at_0[f"h_change/{layer}"] == at_0[f"update/{layer}"] == 0
        assert at_0[f"h/{layer}"] > 0
        # An update of 0 has neither rank nor alignment: left out, not recorded as a number.
        assert not {f"update_stable_rank/{layer}", f"alignment_update/{layer}"} & at_0.keys()
    assert [at_0["cka/1"], at_0["cka/2"]] == pytest.approx([1, 1])


def test_the_examples_are_the_same_for_all_seeds_and_grow(tiny: Dataset):
    few, more = probe_examples(40, 6), probe_examples(40, 20)
    assert more[:6].tolist() == few.tolist()
    assert len(set(more.tolist())) == 20
    assert not np.array_equal(few, probe_examples(41, 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_probes_change_no_number_of_training(tiny: Dataset, activation: str, dtype: torch.dtype):
    config = replace(CONFIG, activation=activation, metrics_interval=1, evaluation_interval=2)
    probed, plain = (Trainer(c, RUNS, tiny, dtype=dtype) for c in (config, replace(config, probes=None)))
    assert probed.calibrated_rates == plain.calibrated_rates
    with_probes = [row for row in probed.advance().points.rows() if "/" not in row[1]]
    assert with_probes == list(plain.advance().points.rows())
    for ours, theirs in zip(effective(probed), effective(plain), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_steps_are_those_asked_for_and_slices_do_not_matter(tiny: Dataset):
    whole = values(Trainer(CONFIG, RUNS, tiny).advance().points)
    assert {step for _, _, step in whole} == {0, 1, 3, 6}
    trainer, parts = Trainer(CONFIG, RUNS, tiny), {}
    while not trainer.finished:
        parts |= values(trainer.advance(max_steps=2).points)
    assert parts == whole


def test_a_resumed_trainer_has_the_same_step_0(tiny: Dataset, tmp_path):
    first = Trainer(CONFIG, RUNS, tiny)
    found = values(first.advance(max_steps=4).points)
    checkpoint.save(first, tmp_path / "c.safetensors")
    resumed = Trainer(CONFIG, RUNS, tiny)
    assert checkpoint.restore(resumed, tmp_path / "c.safetensors") == ()
    found |= values(resumed.advance().points)
    assert found == values(Trainer(CONFIG, RUNS, tiny).advance().points)


def test_diverged_and_stopped_runs_record_nothing(tiny: Dataset):
    explodes = RunConfig(custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["-2"] * 3), 1e6, 0)
    config = replace(CONFIG, activation="relu", probes=replace(ALL, interval=1))
    runs = [RUNS[0], explodes, RUNS[2]]
    trainer = Trainer(config, runs, tiny)
    found = values(trainer.advance(max_steps=2).points)
    trainer.stop([2])
    found |= values(trainer.advance().points)
    (diverged,) = trainer.diverged.items()
    assert diverged[0] == 1
    steps = [{step for run, _, step in found if run == position} for position in range(3)]
    assert steps == [set(range(8)), set(range(diverged[1])), {0, 1, 2}]
    assert np.isfinite(list(found.values())).all()
    alone = values(Trainer(config, runs[:1], tiny).advance().points)
    assert {k: v for k, v in found.items() if k[0] == 0} == pytest.approx(alone, rel=1e-3, abs=1e-7)


def test_measuring_a_few_runs_at_a_time_gives_the_same(tiny: Dataset, monkeypatch):
    whole = values(Trainer(CONFIG, RUNS, tiny, dtype=torch.float64).advance().points)
    monkeypatch.setattr(memory, "SLICE_BYTES", 1)
    trainer = Trainer(CONFIG, RUNS, tiny, dtype=torch.float64)
    assert trainer.measurements.prober is not None
    assert len(trainer.measurements.prober._slices) == 3
    assert values(trainer.advance().points) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_alone_records_its_own_quantities(tiny: Dataset, probe: str):
    config = replace(CONFIG, probes=Probes((probe,), layers=(2, 3), steps=(2,), examples=6))
    runs = [*RUNS, RunConfig(preset("ip-bias", 2), 0.1, 0)]
    found = values(Trainer(config, runs, tiny).advance().points)
    own = {f"{q.name}/{l}" for q in QUANTITIES[probe] for l in (2, 3) if l in q.layers(3)}  # noqa: E741
    own |= {*definition(probe).metrics}
    assert {name for _, name, _ in found} == own
