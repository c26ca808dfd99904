"""Which datasets a dispatcher reports: looked at again only when files change."""

from ipserver.dispatch import datasets
from ipserver.dispatch.datasets import DatasetChecks


def problems(checks):
    return {report.name: report.problem for report in checks.report()}


def test_without_a_data_folder_only_embedded_ones_can_be_used():
    found = problems(DatasetChecks(None))

    assert found["digits"] == ""
    assert found["mnist"]


def test_files_are_checked_again_only_when_they_change(tmp_path, monkeypatch):
    looked_at = []
    check = datasets.check_dataset

    def counted(name, root):
        looked_at.append(name)
        check(name, root)

    monkeypatch.setattr(datasets, "check_dataset", counted)
    checks = DatasetChecks(tmp_path)
    first = problems(checks)
    assert problems(checks) == first
    assert looked_at == ["digits", "mnist"]

    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"damaged")
    assert "mnist" in problems(checks)["mnist"]
    assert looked_at == ["digits", "mnist", "mnist"]


def test_a_folder_that_cannot_be_read_is_a_problem_not_an_end(tmp_path, monkeypatch):
    def denied(self, name):
        raise PermissionError(13, "Permission denied", str(tmp_path / name))

    monkeypatch.setattr(DatasetChecks, "_signature", denied)

    assert "Permission denied" in problems(DatasetChecks(tmp_path))["mnist"]
