"""`tests/gpu.sh` in its miniature, and the functions that it uses on a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import torch

from ipcore.catalogue import dataset_info
from ipcore.config import Calibration, PackConfig
from ipcore.data import Dataset, Split, load_dataset
from ipcore.data.cifar import GREY_NORMALIZATION
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.errors import DataError
from ipcore.planning.memory import pack_memory_bytes
from tests.benchmarks import gpu
from tests.gpu import authors, sweep
from tests.gpu.__main__ import PARTS
from tests.gpu.data import pack, unpack
from tests.gpu.methods import METHODS, job
from tests.gpu.packs import MEMORY, PackJob, fitting, read, train_all

SCRIPT = Path(__file__).resolve().parents[1] / "gpu.sh"


def small(steps: int = 6, rates: tuple[float, ...] = (0.1,)) -> PackJob:
    config = PackConfig("digits", 3, 8, "relu", 32, steps=steps, evaluation_interval=3, validation_size=100)
    return job(config, rates, [0], Calibration())


def test_the_miniature_writes_every_file(tmp_path: Path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [SCRIPT, tmp_path / "out", "--seconds", "280"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=290, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"

    def document(name: str):
        return json.loads((out / name).read_text())

    assert {path.name for path in out.iterdir()} == {"summary.json", *(part.file for part in PARTS)}
    assert {name: entry["state"] for name, entry in document("summary.json").items()} == {
        part.name: "done" for part in PARTS
    }
    assert document("environment.json")["versions"]["torch"]
    assert set(document("tests.json")["counts"]) == {"passed"}
    assert document("speed.json")["pack"][0]["loop/pack"] > 0
    assert document("memory.json")["rows"][0]["ratio"] > 0
    pieces = {line["piece"]: line for line in read(out / "limits.jsonl")}
    assert pieces["time limit L=2 m=64 updates=3"]["train_seconds"] > 0
    for name in ("ip-llr", "mup"):
        assert "is reached at width" in pieces[f"distance digits {name} L=2 needed"]["says"]
    for name, runs, points in (("authors.jsonl", 10, 7), ("sweep.jsonl", 20, 3)):
        lines = read(out / name)
        assert [line["K"] for line in lines] == [runs] * 4
        learned = [run for line in lines for run in line["runs"] if run["diverged"] is None]
        assert learned and all(len(run["test_accuracy"]) == points for run in learned)


def test_what_is_trained_is_not_trained_again(tmp_path: Path):
    path = tmp_path / "packs.jsonl"
    first = train_all([small()], path, "cpu", 60.0, load_dataset)
    path.write_text(path.read_text() + '{"pack": "cut')  # as after a kill
    second = train_all([small(), small(steps=9)], path, "cpu", 60.0, load_dataset)

    assert first == {"trained": [small().name]}
    assert second == {"trained": [small(steps=9).name], "trained before": [small().name]}
    lines = read(path)
    assert [line["updates"] for line in lines] == [6, 9]
    assert [run["parameterization"] for run in lines[0]["runs"]] == list(METHODS)
    assert [step for step, _ in lines[0]["runs"][1]["validation_accuracy"]] == [0, 3, 6]


def test_what_would_not_end_in_time_is_not_begun(tmp_path: Path):
    jobs = [small(), small(steps=3 * 10**7), small(steps=9)]
    begun = time.monotonic()
    told = train_all(jobs, tmp_path / "packs.jsonl", "cpu", 60.0, load_dataset)

    assert told == {"trained": [jobs[0].name, jobs[2].name], "no time": [jobs[1].name]}
    assert time.monotonic() - begun < 60


def test_a_pack_that_time_cuts_off_is_not_taken_for_finished(tmp_path: Path):
    path, digits = tmp_path / "packs.jsonl", load_dataset("digits")
    told = train_all([small(steps=3 * 10**7)], path, "cpu", 0.5, lambda _: digits, least=0.1)
    (line,) = read(path)

    assert told == {"trained": [], "cut off": [small(steps=3 * 10**7).name]}
    assert not line["finished"] and 0 < line["updates"] < 3 * 10**7
    assert authors.table([line]) == []


def test_a_dataset_that_is_not_there_is_named(tmp_path: Path):
    def load(name: str) -> Dataset:
        raise DataError("no digits here")

    told = train_all([small()], tmp_path / "packs.jsonl", "cpu", 60.0, load)
    assert told == {"trained": [], "no digits here": [small().name]}


def test_packs_are_divided_until_they_fit():
    whole = small(rates=(0.1, 0.2, 0.3))
    info = dataset_info("digits")
    parts = fitting(whole, info, memory=int(pack_memory_bytes(whole.config, info, 4) / MEMORY) + 1)

    assert [len(part.runs) for part in parts] == [3, 4, 4, 4]
    assert [run for part in parts for run in part.runs] == list(whole.runs)
    assert [label for part in parts for label in part.labels] == list(whole.labels)
    assert len({part.name for part in parts}) == len(parts)
    assert fitting(whole, info, memory=10**12) == [whole]


def test_the_sweep_is_the_published_one():
    assert len(sweep.RATES) == 28
    assert sweep.RATES[:2] == (1e-4, 2e-4) and sweep.RATES[8:10] == (9e-4, 1e-3) and sweep.RATES[-1] == 0.1
    assert len(set(sweep.RATES)) == 28


def test_a_packed_dataset_is_the_same_to_the_last_bit():
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        values = rng.integers(0, 256, (n, 1024), dtype=np.uint8)
        labels = rng.integers(0, 10, n)
        return Split(
            scale_pixels(values, GREY_NORMALIZATION), labels, as_pixels(values, [GREY_NORMALIZATION])
        )

    dataset = Dataset("cifar10-grey", split(50), split(10), classes=10)
    again = unpack(pack(dataset), test=10)

    assert again.digest == dataset.digest and again.info == dataset.info
    for one, two in ((again.train, dataset.train), (again.test, dataset.test)):
        assert np.array_equal(one.pixels.values, two.pixels.values)
        assert np.array_equal(one.pixels.scale, two.pixels.scale)


def test_every_kind_of_figure_can_be_measured():
    """On networks of a few neurons; the values of the figures do not matter."""
    figures = dict(reversed(list(gpu.Bench("cpu", 1e-4).figures())))  # only the first figure of each table
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {table: figure() for table, figure in figures.items()}
    finally:
        torch.set_num_threads(before)

    assert set(found) == {"pack", "precision", "widths", "sweep"}
    assert found["precision"]["fp32/this"] == 1.0
    assert found["pack"]["pack_ms"] > 0 and found["sweep"]["hours"] > 0
    assert found["widths"]["K"] == 32
