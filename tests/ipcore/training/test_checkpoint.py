from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file

from ipcore.catalogue import PROBES
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.errors import CheckpointError, DataError
from ipcore.models import Mlp, ResidualMlp
from ipcore.models.files import read_tensors, write_tensors
from ipcore.theory import custom, preset
from ipcore.training import checkpoint
from ipcore.training.trainer import Trainer

CONFIG = PackConfig(
    "digits", 2, 12, "relu", batch_size=8, steps=24, metrics_interval=1, evaluation_interval=6
)
RUNS = [
    RunConfig(preset("mup", 2), 0.1, 0),
    RunConfig(preset("ip-llr", 2), 0.1, 1, Calibration()),
    # Diverges within a few updates.
    RunConfig(custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["-2"] * 3), 10.0, 0),
    RunConfig(preset("sp", 2), 0.1, 2),
]


def make(tiny: Dataset, **changes) -> Trainer:
    return Trainer(replace(CONFIG, **changes), RUNS, tiny, threads=1)


def rows(*slices):
    return [row for part in slices for row in part.points.rows()]


@pytest.mark.parametrize("cut", [1, 2, 7, 23])
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(tiny: Dataset, tmp_path: Path, cut: int):
    whole = make(tiny)
    expected = rows(whole.advance())
    first = make(tiny)
    before = rows(first.advance(max_steps=cut))
    checkpoint.save(first, tmp_path / "c")
    second = make(tiny)
    assert checkpoint.restore(second, tmp_path / "c") == ()
    assert second.step == cut
    after = rows(second.advance(max_steps=3), *([] if second.finished else [second.advance()]))
    # Compared as sets of rows: a slice orders its points by step.
    assert sorted(before + after) == sorted(expected)
    for one, two in zip(whole.pack.weights, second.pack.weights, strict=True):
        assert torch.equal(one[[0, 1, 3]], two[[0, 1, 3]])
    assert torch.equal(whole.pack.biases[0][[0, 1, 3]], second.pack.biases[0][[0, 1, 3]])
    assert second.diverged == whole.diverged
    assert list(second.diverged) == [2]
    assert second.calibrated_rates == whole.calibrated_rates


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_everything_at_once_resumes_bit_for_bit(tiny: Dataset, tmp_path: Path, optimizer: str):
    """A checkpoint after every update, with probes, a validation set, a schedule, decay and a divergence.

    The cuts include those just before and after re-weighting, the large first step and a change of d.
    """
    adam = optimizer.startswith("adam")
    names = ("ip", "mup", "ntk") if adam else ("hp", "hpz", "ip-llr", "ip-bias", "ip-non-centered")
    decay = 0.0 if optimizer == "adam" else 0.2
    runs = [
        RunConfig(
            preset(name, 2, optimizer=optimizer), 0.05, 1, settings=OptimizerSettings(weight_decay=decay)
        )
        for name in names
    ]
    runs.append(RunConfig(preset("sp", 2, optimizer=optimizer), 1e30, 0))
    config = replace(
        CONFIG,
        optimizer=optimizer,
        steps=6,
        validation_size=15,
        schedule=Schedule("cosine", warmup_steps=2),
        probes=Probes(tuple(PROBES), interval=1, examples=4),
    )

    def fresh() -> Trainer:
        return Trainer(config, runs, tiny, threads=1)

    whole, part, found = fresh(), fresh(), []
    expected = rows(whole.advance())
    while not part.finished:
        found += rows(part.advance(max_steps=1))
        checkpoint.save(part, tmp_path / "c")
        part = fresh()
        assert checkpoint.restore(part, tmp_path / "c") == ()
    assert sorted(found) == sorted(expected)
    assert part.diverged == whole.diverged
    assert list(whole.diverged) == [len(names)]
    for one, two in zip(whole._trained().values(), part._trained().values(), strict=True):
        assert torch.equal(one[:-1], two[:-1])


def test_two_threads_are_as_reproducible_as_one(digits: Dataset, tmp_path: Path):
    config = PackConfig("digits", 2, 200, "tanh", batch_size=128, steps=12)
    runs = [RunConfig(preset("mup", 2), 0.1, 0)]

    def fresh() -> Trainer:
        return Trainer(config, runs, digits, threads=2)

    whole, first, second = fresh(), fresh(), fresh()
    whole.advance()
    first.advance(max_steps=5)
    checkpoint.save(first, tmp_path / "c")
    checkpoint.restore(second, tmp_path / "c")
    second.advance()
    for one, two in zip(whole.pack.weights, second.pack.weights, strict=True):
        assert torch.equal(one, two)


def test_masks_are_restored(tiny: Dataset, tmp_path: Path):
    trainer = make(tiny)
    trainer.advance(max_steps=5)
    trainer.stop([0])
    checkpoint.save(trainer, tmp_path / "c")
    again = make(tiny)
    checkpoint.restore(again, tmp_path / "c")
    assert {position for position, *_ in rows(again.advance())} == {1, 3}


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.999])
def test_a_torn_file_is_never_resumed(tiny: Dataset, tmp_path: Path, part: float):
    trainer = make(tiny)
    checkpoint.save(trainer, tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError):
        checkpoint.restore(make(tiny), tmp_path / "c")


def test_one_flipped_bit_is_noticed(tiny: Dataset, tmp_path: Path):
    checkpoint.save(make(tiny), tmp_path / "c")
    content = bytearray((tmp_path / "c").read_bytes())
    content[-40] ^= 1
    (tmp_path / "c").write_bytes(content)
    trainer = make(tiny)
    before = [weight.clone() for weight in trainer.pack.weights]
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.restore(trainer, tmp_path / "c")
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.pack.weights, strict=True))


def test_another_packs_checkpoint_is_refused(tiny: Dataset, tmp_path: Path):
    checkpoint.save(make(tiny), tmp_path / "c")
    others = [
        make(tiny, steps=25),
        make(tiny, activation="elu"),
        Trainer(CONFIG, RUNS[:3], tiny),
        Trainer(CONFIG, [*RUNS[:3], replace(RUNS[3], seed=9)], tiny),
        Trainer(CONFIG, RUNS, tiny, dtype=torch.float64),
    ]
    for other in others:
        with pytest.raises(CheckpointError, match="another pack"):
            checkpoint.restore(other, tmp_path / "c")


def test_foreign_files_are_refused(tiny: Dataset, tmp_path: Path):
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.restore(make(tiny), tmp_path / "none")
    (tmp_path / "text").write_text("not tensors at all")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoint.restore(make(tiny), tmp_path / "text")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="digest"):
        checkpoint.restore(make(tiny), tmp_path / "foreign")
    make(tiny).network(0).save(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="iplab-weights/2"):
        checkpoint.restore(make(tiny), tmp_path / "weights")


def test_another_thread_count_is_accepted_and_said(tiny: Dataset, tmp_path: Path):
    checkpoint.save(make(tiny), tmp_path / "c")
    (note,) = checkpoint.restore(Trainer(CONFIG, RUNS, tiny, threads=2), tmp_path / "c")
    assert note == "checkpoint was written with threads 1, now 2"


def test_nothing_but_the_file_is_left_behind(tiny: Dataset, tmp_path: Path):
    checkpoint.save(make(tiny), tmp_path / "c")
    checkpoint.save(make(tiny), tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert set(load_file(tmp_path / "c")) >= {"W1", "W2", "W3", "B1", "step"}
    with pytest.raises(OSError, match="No such file"):
        checkpoint.save(make(tiny), tmp_path / "nowhere" / "c")


def altered(path: Path, header: dict[str, str] | None = None, **tensors: torch.Tensor | None) -> None:
    """Rewrite a checkpoint with other content (None: removed) and a matching digest."""
    held, metadata = read_tensors(path)
    kept = {name: tensor for name, tensor in (held | tensors).items() if tensor is not None}
    write_tensors(path, kept, metadata | (header or {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"format": "iplab-checkpoint/2"}}, "has format 'iplab-checkpoint/2'"),
        ({"header": {"fingerprint": "0" * 64}}, "another pack"),
        ({"W2": None}, "does not hold what this version resumes from: W2"),
        ({"moment": torch.zeros(2)}, "resumes from: moment"),
        ({"W1": torch.zeros(1), "step": torch.zeros(1)}, "resumes from: W1, step"),
        ({"last_step": torch.zeros(4)}, "resumes from: last_step"),
    ],
)
def test_what_another_version_wrote_is_refused(tiny: Dataset, tmp_path: Path, change, message: str):
    checkpoint.save(make(tiny), tmp_path / "c")
    altered(tmp_path / "c", **change)
    trainer = make(tiny)
    before = {name: tensor.clone() for name, tensor in trainer.state().items()}
    with pytest.raises(CheckpointError, match=message):
        checkpoint.restore(trainer, tmp_path / "c")
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.state().items())


def test_the_header_tells_where_it_was_written(tiny: Dataset, tmp_path: Path):
    checkpoint.save(make(tiny), tmp_path / "c")
    _, header = read_tensors(tmp_path / "c")
    expected = {"device": "cpu", "threads": "1", "torch": torch.__version__, "numpy": np.__version__}
    assert header.items() >= expected.items()
    assert header["processor"] == torch.backends.cpu.get_cpu_capability()
    altered(tmp_path / "c", {"torch": "1.0", "processor": "DEFAULT", "iplab": "0.0"})
    assert checkpoint.restore(make(tiny), tmp_path / "c") == (
        f"checkpoint was written with processor DEFAULT, now {header['processor']}",
        f"checkpoint was written with iplab 0.0, now {header['iplab']}",
        f"checkpoint was written with torch 1.0, now {torch.__version__}",
    )


def renamed(dataset: Dataset, name: str, **changes) -> Dataset:
    return replace(dataset, name=name, **changes)


def test_data_are_known_by_their_numbers(tiny: Dataset, tmp_path: Path):
    """An input that differs in its last bit makes another dataset, even with the same sizes and name."""
    first = make(tiny)
    checkpoint.save(first, tmp_path / "c")
    inputs = tiny.train.inputs.copy()
    inputs[3, 2] = np.nextafter(inputs[3, 2], np.float32(9))
    other = make(renamed(tiny, "digits", train=replace(tiny.train, inputs=inputs)))
    assert checkpoint.fingerprint(first) != checkpoint.fingerprint(other)
    with pytest.raises(CheckpointError, match="data"):
        checkpoint.restore(other, tmp_path / "c")


def test_a_registered_file_that_was_replaced_stops_the_run(tiny: Dataset, tmp_path: Path):
    """Training from the start on other data would mix two datasets in one history."""
    mine = renamed(tiny, "registered:mine")
    checkpoint.save(make(mine, dataset=mine.name), tmp_path / "c")
    assert checkpoint.restore(make(mine, dataset=mine.name), tmp_path / "c") == ()
    other = make(renamed(mine, mine.name, train=tiny.test), dataset=mine.name)
    with pytest.raises(DataError, match=r"registered:mine.*has changed since.*submit the experiment again"):
        checkpoint.restore(other, tmp_path / "c")


def test_settings_that_models_got_later_do_not_count_where_they_change_nothing():
    """A checkpoint of before models had a normalization is of the same pack; one with another is not."""
    config = replace(CONFIG, model=ResidualMlp())
    text = "model=ResidualMlp(branch_multiplier='depth^-1/2', block_matrices=1))"
    assert checkpoint._text(config).endswith(text)
    assert checkpoint._text(CONFIG) == checkpoint._text(replace(CONFIG, model=Mlp("none")))
    assert "normalization='rms'" in checkpoint._text(replace(CONFIG, model=Mlp("rms")))


def test_settings_that_optimizers_get_later_do_not_count_where_they_change_nothing(monkeypatch):
    """As if the first version had not had the Newton-Schulz steps."""
    known = checkpoint._FIRST[OptimizerSettings]
    run = RunConfig(preset("mup", 2), 0.1, 0)
    assert checkpoint._text((run,)) == repr((run,))
    assert checkpoint._text((run, run)) == repr((run, run))
    monkeypatch.setitem(checkpoint._FIRST, OptimizerSettings, [*known[:-1]])
    assert "newton_schulz_steps" not in checkpoint._text(run)
    assert "newton_schulz_steps=7" in checkpoint._text(
        replace(run, settings=OptimizerSettings(newton_schulz_steps=7))
    )
