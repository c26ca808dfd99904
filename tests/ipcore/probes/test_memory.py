"""The memory model against what is kept and what torch allocates."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ipcore.catalogue import PROBES, dataset_info
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.models import MLP, Mlp, Model, ResidualMlp
from ipcore.planning.memory import pack_memory_bytes
from ipcore.probes import memory, probe_memory_bytes
from ipcore.probes.single_update import Newest
from ipcore.theory import preset
from ipcore.training.trainer import Trainer


def config_of(
    quantities: tuple[str, ...], width: int = 32, examples: int = 16, model: Model = MLP
) -> PackConfig:
    probes = Probes(quantities, steps=(0, 1), examples=examples)
    return PackConfig("digits", 3, width, "gelu", batch_size=8, steps=2, probes=probes, model=model)


def runs(count: int, depth: int = 3) -> list[RunConfig]:
    return [RunConfig(preset("mup", depth), 0.1, seed) for seed in range(count)]


# `outputs` evaluates the test set, which a pack's own estimate has room for.
INSIDE = tuple(name for name, probe in PROBES.items() if not probe.of_outputs)


@pytest.mark.parametrize("quantities", [*((name,) for name in INSIDE), INSIDE])
def test_what_is_kept(tiny: Dataset, quantities: tuple[str, ...]):
    config = config_of(quantities)
    prober = Trainer(config, runs(3), tiny).measurements.prober
    assert prober is not None
    kept = [*prober._weights, *prober._biases, *(h for part in prober._h for h in part.values())]
    sizes = config.architecture(5, 3)
    found = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    # Biases are counted in every layer; these runs have one, in the first.
    missing = 4 * (sum(sizes.outputs) - 32) if "isolated_updates" in quantities else 0
    assert found == 3 * (memory._baseline(config.probes, sizes, 4) - missing)


def peak(prepare, act) -> int:
    """Most bytes that torch holds on the CPU at once during `act`, beyond what it held before."""
    from torch.profiler import ProfilerActivity, profile

    prepared = prepare()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        act(prepared)
    worst = current = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            worst = max(worst, current)
    return worst


ANY_MODEL = tuple(name for name in INSIDE if name != "parts")


@pytest.mark.parametrize(
    ("model", "quantities"),
    [
        *((MLP, quantities) for quantities in (*((name,) for name in INSIDE), INSIDE)),
        *((Mlp("rms"), quantities) for quantities in (("parts",), INSIDE)),
        *(
            (model, quantities)
            for model in (ResidualMlp(), ResidualMlp("1", 2))
            for quantities in (*((name,) for name in ANY_MODEL), ANY_MODEL)
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("width", "examples"), [(96, 8), (16, 40)])
def test_a_measurement_stays_within_the_model(
    tiny: Dataset, quantities, width: int, examples: int, model: Model
):
    config = config_of(quantities, width, examples, model)
    trainer = Trainer(config, runs(4, config.layers - 1), tiny)
    assert trainer.measurements.prober is not None

    def measure(prober) -> None:
        with torch.inference_mode():
            prober.measure(Newest(1, trainer._rates.at(0)))

    expected = 4 * memory.working_bytes(config, config.probes, config.architecture(5, 3), 4)
    found = peak(lambda: trainer.measurements.prober, measure)
    assert 0.3 * expected < found <= expected


def test_runs_are_measured_as_many_at_once_as_fit(monkeypatch):
    probes = Probes(tuple(PROBES), interval=1)
    config = PackConfig("digits", 2, 128, "relu", 8, 2, probes=probes)
    sizes = config.architecture(64, 10)
    monkeypatch.setattr(memory, "SLICE_BYTES", 5 * memory.working_bytes(config, probes, sizes, 4) + 1)
    assert memory.slice_runs(config, probes, sizes, 4) == 5
    config = PackConfig("digits", 2, 128, "relu", 8, 2, probes=probes)
    bytes_of = [probe_memory_bytes(config, 64, 10, runs) for runs in (4, 5, 6)]
    kept = memory._baseline(probes, sizes, 4)
    assert bytes_of[2] - bytes_of[1] == kept < bytes_of[1] - bytes_of[0]


def test_plans_count_them():
    config = config_of(INSIDE)
    info = dataset_info("digits")
    less = pack_memory_bytes(replace(config, probes=None), info, runs=4)
    assert pack_memory_bytes(config, info, runs=4) == less + probe_memory_bytes(config, 64, 10, runs=4)
    assert probe_memory_bytes(replace(config, probes=None), 64, 10, runs=4) == 0


def test_standard_library_only():
    code = "import sys, ipcore.probes; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
