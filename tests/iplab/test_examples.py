"""The specs in examples/: the service accepts them, and their sizes are as stated."""

import re
from pathlib import Path

import pytest

import iplab

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_accepted(own_service, path):
    # On a service that has not checked for data files yet, since MNIST may be missing.
    with iplab.connect(own_service.address) as client:
        preview = client.create(path, validate_only=True)

    comment = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"iplab submit examples/{path.name}" in comment
    if said := re.search(r"\b(\d[\d,]*) runs\b", comment):
        assert preview.counts.total == int(said[1].replace(",", ""))


def test_there_are_examples():
    assert {"quickstart", "adam-validation", "variants", "teacher"} <= {
        p.stem for p in EXAMPLES.glob("*.yaml")
    }
