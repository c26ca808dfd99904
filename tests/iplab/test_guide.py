"""docs/guide.md and examples/tour.ipynb run from top to bottom against a service."""

import re
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def training(service, monkeypatch, tmp_path):
    """The service trains whatever is submitted, and clients find it."""
    monkeypatch.setenv("IPLAB_ADDRESS", service.address)
    monkeypatch.chdir(tmp_path)
    stop = threading.Event()

    def train():
        while not stop.wait(0.05):
            service.train()

    thread = threading.Thread(target=train)
    thread.start()
    yield tmp_path
    stop.set()
    thread.join()


def test_every_answer_of_the_guide_runs(training):
    text = (ROOT / "docs" / "guide.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"guide.md, block {number}", "exec"), names)
    assert len(names["experiment"].summary()) == 18
    assert names["experiment"].counts.total == 54
    assert names["outputs"].shape == (5, 10)
    saved = {"rates.svg", "coordinates.pdf", "coordinates.csv", "both.pdf", "panels.png"}
    assert {path.name for path in training.iterdir()} == saved


def test_the_tour_runs(training):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the tree"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(training)}}).execute()

    shown = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert sum("<figure" in html for html in shown) == 2
    assert sum("<table" in html for html in shown) >= 5
    text = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "trivial: f_t - f_0" in text
    (answer,) = [html for html in shown if "compared with theory" in html]
    assert answer.count("8 of 8 sizes agree") == 2, "the tour's check decides"
    assert "isolated updates: 5 of 5 agree" in answer
    assert "layer 2 disagrees at update 1" in answer
    assert "undecided" not in answer
