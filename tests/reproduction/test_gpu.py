"""Runs of `tests/gpu.sh` become a result if they are the study's runs."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from reproduction.authors_sweep import best_checkpoint, best_rate
from reproduction.gpu import take
from reproduction.results import load, save
from reproduction.studies import STUDIES
from reproduction.study import Measured, StudyError
from tests.gpu import authors, limits, sweep

TABLE = STUDIES["authors-cifar10"]
SWEEP = STUDIES["authors-sweep-cifar10"]
MNIST = STUDIES["infinite-width-mnist"]


def run(**changes: object) -> dict[str, object]:
    points = {
        "validation_accuracy": [[0, 0.1], [100, 0.3], [200, 0.3]],
        "test_accuracy": [[0, 0.11], [100, 0.32], [200, 0.33]],
        "test_loss": [[0, 2.3], [100, 2.0], [200, 1.9]],
    }
    return {
        "dataset": "cifar10-grey", "parameterization": "mup", "hidden_layers": 6, "width": 1024,
        "activation": "elu", "rate": 0.01, "seed": 0, "precision": "fp32", "diverged": None,
        **points, **changes,
    }  # fmt: skip


def line(*runs: dict[str, object], **changes: object) -> dict[str, object]:
    return {"pack": "a pack", "finished": True, "updates": 1200, "seconds": 10.0, "runs": runs, **changes}


def folder(path: Path, *lines: dict[str, object], file: str = "authors.jsonl") -> Path:
    environment = {"versions": {"numpy": "2", "torch": "3"}, "cores": 2, "gpu": {"name": "A Card"}}
    (path / "environment.json").write_text(json.dumps(environment))
    (path / file).write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return path


def test_runs_of_the_grid_are_taken_with_their_last_accuracy(tmp_path: Path):
    mnist = line(run(dataset="mnist"), updates=600)
    cut = line(run(seed=1), finished=False, updates=17)
    wild = run(seed=2, diverged=5, test_accuracy=[[0, 0.1]])
    where = folder(tmp_path, mnist, line(run(), wild, run(rate=0.5)), cut)
    result = take(TABLE, TABLE.spec, where, note="A copy.")

    assert [(r.seed, r.values) for r in result.runs] == [
        (0, {"test_accuracy": 0.33, "test_loss": 1.9}),
        (2, {}),
    ]
    assert (result.machine, result.command, result.note) == ("one A Card", "tests/gpu.sh", "A copy.")
    assert result.seconds == 10.0 and result.versions == {"numpy": "2", "torch": "3"}
    save(result, tmp_path / "results")
    assert load(TABLE.name, TABLE.spec, tmp_path / "results") == result


def test_of_the_sweep_the_best_checkpoint_is_kept(tmp_path: Path):
    where = folder(tmp_path, line(run(hidden_layers=5, precision="tf32")), file="sweep.jsonl")
    (found,) = take(SWEEP, SWEEP.spec, where).runs

    assert found.values == {"step": 100, "validation_accuracy": 0.3, "test_accuracy": 0.32}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"updates": 600}, r"\(600, 'fp32'\), not \(1200, 'fp32'\)"),
        ({"runs": [run(precision="bf16")]}, "bf16"),
    ],
)
def test_runs_that_were_trained_otherwise_are_refused(tmp_path: Path, changes: dict[str, object], wrong: str):
    with pytest.raises(StudyError, match=wrong):
        take(TABLE, TABLE.spec, folder(tmp_path, line(run(), **changes)))


def test_a_folder_without_such_runs_says_so(tmp_path: Path):
    with pytest.raises(StudyError, match=r"environment\.json and no .*authors\.jsonl"):
        take(TABLE, TABLE.spec, tmp_path)
    with pytest.raises(StudyError, match="holds no run of authors-cifar10"):
        take(TABLE, TABLE.spec, folder(tmp_path, line(run(width=8))))


@pytest.mark.parametrize(("jobs", "names"), [
    (authors.jobs("cuda", "fp32"), ["authors-cifar10"]),
    (sweep.jobs("cuda", "tf32", memory=10**12), ["authors-sweep-mnist", "authors-sweep-cifar10"]),
])  # fmt: skip
def test_the_script_trains_exactly_what_the_examples_ask_for(jobs, names: list[str]):
    """Its grids and other settings equal the study's, so its runs may be used."""
    jobs = list(jobs)
    for name in names:
        spec = copy.deepcopy(STUDIES[name].spec["spec"])
        grid = spec["grid"]
        chosen = [job for job in jobs if job.config.dataset == spec["dataset"]]
        found = {
            (label, one.base_learning_rate, one.seed, job.config.activation, job.config.hidden_layers)
            for job in chosen
            for label, one in zip(job.labels, job.runs, strict=True)
        }
        wanted = {
            (entry["preset"], rate, seed, activation, depth)
            for entry in grid["parameterizations"]
            for rate in grid["base_learning_rates"]
            for seed in grid["seeds"]
            for activation in grid["activations"]
            for depth in grid["hidden_layers"]
        }
        assert found == wanted and sum(len(job.runs) for job in chosen) == len(wanted)
        calibration = grid["parameterizations"][0]["calibration"]
        for job in chosen:
            config = job.config
            assert (config.steps, config.batch_size, config.width) == (
                spec["steps"], spec["batch_size"], grid["widths"][0],
            )  # fmt: skip
            assert config.validation_size == spec.get("validation_size", 0)
            assert config.precision == spec.get("precision", "fp32")
            for label, one in zip(job.labels, job.runs, strict=True):
                own = one.calibration and (one.calibration.readout_target, one.calibration.cap)
                assert own == (tuple(calibration.values()) if label == "ip-llr" else None)


def test_the_best_rate_validates_best_and_diverges_for_no_seed():
    def at(rate: float, seed: int, validation: float | None) -> Measured:
        values = {} if validation is None else {"validation_accuracy": validation, "test_accuracy": 0.0}
        return Measured("mup", 5, 1024, "elu", rate, seed, values)

    runs = (at(0.1, 0, 0.9), at(0.1, 1, None), at(0.01, 0, 0.5), at(0.01, 1, 0.3), at(0.001, 0, 0.2))
    assert best_rate(runs) == 0.01
    assert best_rate((at(0.1, 0, None),)) is None


def test_of_equal_checkpoints_the_first_is_the_best():
    equal = {"validation_accuracy@9": 0.5, "validation_accuracy@12": 0.5, "test_accuracy@9": 0.4}
    assert best_checkpoint(equal) == {"step": 9, "validation_accuracy": 0.5, "test_accuracy": 0.4}
    assert best_checkpoint({}) == {}


def distances(**changes: object) -> list[dict[str, object]]:
    """Lines of the limits' part for muP with two hidden layers: its reference and one width."""
    reference = {"piece": "distance mnist mup L=2 reference", "m": 32768, "replicas": 4, "seconds": 2.0}
    width = {
        "piece": "distance mnist mup L=2 m=64", "squares": [0.1] * 8, "own": 0.01, "variance": 0.08,
        "bias": 0.02, "seconds": 1.0,
    }  # fmt: skip
    return [reference, {**width, **changes}, {"piece": "time limit L=2 m=64 updates=10"}]


def test_distances_to_limits_are_taken(tmp_path: Path):
    result = take(MNIST, MNIST.spec, folder(tmp_path, *distances(), file="limits.jsonl"))

    seeds = [r.values for r in result.runs if r.seed >= 0]
    (shared,) = [r.values for r in result.runs if r.seed < 0]
    assert seeds == [{"square@100": 0.1}] * 8
    assert shared == {"own@100": 0.01, "variance@100": 0.08, "bias@100": 0.02}
    assert result.seconds == 3.0


def test_distances_with_other_seeds_or_another_reference_are_refused(tmp_path: Path):
    with pytest.raises(StudyError, match="7 seeds, not 8"):
        take(MNIST, MNIST.spec, folder(tmp_path, *distances(squares=[0.1] * 7), file="limits.jsonl"))
    reference, width, _ = distances()
    with pytest.raises(StudyError, match="4 replicas of size 512, not 4 of 32768"):
        take(MNIST, MNIST.spec, folder(tmp_path, {**reference, "m": 512}, width, file="limits.jsonl"))


def test_the_gpu_measures_what_the_study_asks_for():
    spec, sizes = MNIST.spec, limits.ON_GPU
    assert (sizes.dataset, sizes.batch, [sizes.steps]) == (spec["dataset"], spec["batch_size"], spec["steps"])
    assert (sizes.most, sizes.replicas) == (spec["particles"], spec["replicas"])
    assert sizes.reference == spec["reference_width"]
    asked = [(name, L, tuple(widths), set(seeds)) for name, L, _, _, _, widths, seeds in spec["cases"]]
    assert asked == [
        (name, L, widths, {sizes.seeds})
        for L in sizes.layers
        for name, widths in (("ip-llr", sizes.widths), ("mup", sizes.narrow))
    ]
