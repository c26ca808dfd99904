"""Datasets that a dispatcher reports are checked again only when files change."""

import numpy as np
import pytest

from ipcore.catalogue import DATASETS
from ipcore.errors import DataError
from ipserver.scheduling import datasets
from ipserver.scheduling.datasets import DatasetChecks


def problems(checks):
    return {report.name: report.problem for report in checks.report()}


def register(root, name, n=12, d=3):
    (root / "registered").mkdir(exist_ok=True)
    labels = np.arange(n) % 2
    path = root / "registered" / f"{name}.npz"
    np.savez(
        path,
        train_inputs=np.arange(n * d).reshape(n, d) / (n * d),
        train_labels=labels,
        test_inputs=np.ones((n, d)),
        test_labels=labels,
    )
    return path


def test_without_a_data_folder_only_embedded_ones_can_be_used():
    found = problems(DatasetChecks(None))

    assert found["digits"] == ""
    assert set(found) == set(DATASETS)
    assert all(problem for name, problem in found.items() if name != "digits")


def test_files_are_checked_again_only_when_they_change(tmp_path, monkeypatch):
    looked_at = []
    check = datasets.check_dataset

    def counted(name, root):
        looked_at.append(name)
        return check(name, root)

    monkeypatch.setattr(datasets, "check_dataset", counted)
    checks = DatasetChecks(tmp_path)
    first = problems(checks)
    assert problems(checks) == first
    assert looked_at == list(DATASETS)

    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"damaged")
    assert "mnist" in problems(checks)["mnist"]
    assert looked_at == [*DATASETS, "mnist"]

    register(tmp_path, "mine")
    problems(checks)
    problems(checks)
    assert looked_at == [*DATASETS, "mnist", "registered:mine"]


def test_registered_files_are_reported_with_their_sizes(tmp_path):
    checks = DatasetChecks(tmp_path)
    path = register(tmp_path, "mine")
    *_, mine = checks.report()
    assert (mine.name, mine.problem) == ("registered:mine", "")
    assert (mine.info.input_dim, mine.info.classes, mine.info.train_size) == (3, 2, 12)
    assert checks.info("registered:mine") == mine.info

    register(tmp_path, "mine", n=14, d=5)
    assert checks.info("registered:mine").train_size == 14

    path.write_bytes(b"torn")
    *_, mine = checks.report()
    assert "is damaged" in mine.problem and mine.info is None
    with pytest.raises(DataError, match="is damaged"):
        checks.info("registered:mine")

    path.unlink()
    assert set(problems(checks)) == set(DATASETS)


def test_what_is_known_of_others_needs_no_file():
    checks = DatasetChecks(None)
    assert checks.info("mnist").train_size == 60_000
    assert checks.info("parity:d=7").input_dim == 7


def test_a_folder_that_cannot_be_read_is_a_problem_not_an_end(tmp_path, monkeypatch):
    def denied(name, root):
        raise PermissionError(13, "Permission denied", str(tmp_path / name))

    monkeypatch.setattr(datasets, "files_signature", denied)

    assert "Permission denied" in problems(DatasetChecks(tmp_path))["mnist"]
