"""The committed page follows from the committed results; results are identified by their spec."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reproduction import relu
from reproduction.__main__ import DOCS, RESULTS
from reproduction.page import render, write
from reproduction.results import load, measured_now, save
from reproduction.studies import STUDIES
from reproduction.study import ROOT, Measured, key

RUN = Measured("mup", 3, 128, "relu", 0.1, 0, {"test_accuracy": 0.123456789, "h_change/2@1": 1e-9})


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return render(RESULTS)


def test_the_committed_page_is_what_the_results_give(rendered: dict[str, str]):
    for name, text in rendered.items():
        committed = (DOCS / name).read_text()
        assert committed == text, f"docs/{name} is not what the results give: python -m reproduction --page"


def test_no_picture_is_left_over(rendered: dict[str, str]):
    assert {f"reproduction/{path.name}" for path in (DOCS / "reproduction").glob("*.svg")} < set(rendered)


def test_results_come_back_with_six_digits(tmp_path: Path):
    spec = {"steps": 3}
    save(measured_now("a", spec, 1.25, [RUN]), tmp_path)
    loaded = load("a", spec, tmp_path)
    assert loaded.runs[0].values == {"test_accuracy": 0.123457, "h_change/2@1": 1e-9}
    assert loaded.select(width=128, seed=0) == loaded.runs
    assert loaded.select(width=64) == ()


def test_a_result_of_another_spec_is_none(tmp_path: Path):
    save(measured_now("a", {"steps": 3}, 1.0, [RUN]), tmp_path)
    assert load("a", {"steps": 4}, tmp_path) is None
    assert load("b", {"steps": 3}, tmp_path) is None


def test_a_study_that_has_not_run_is_named_on_the_page(tmp_path: Path):
    page = write(tmp_path / "none", tmp_path / "docs").read_text()
    assert page.count("Not measured yet") == len(STUDIES)


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.measure is None])
def test_a_study_on_the_service_has_its_spec_among_the_examples(name: str):
    assert (ROOT / STUDIES[name].source).is_file()
    assert key(STUDIES[name].spec) != key(STUDIES[name].quick)


def test_features_on_a_line_have_dimension_1_and_signs_are_counted():
    line = torch.outer(torch.arange(5.0), torch.tensor([1.0, -2.0, 0.5]))
    assert relu.dimension(line) == pytest.approx(1.0)
    # Two axes with equal variance.
    assert relu.dimension(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])) == pytest.approx(
        2.0
    )
    assert relu.fixed_signs(torch.tensor([[1.0, 1.0, -1.0], [2.0, -1.0, -3.0]])) == pytest.approx(2 / 3)
