"""Names of what is recorded, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from ipcore.catalogue import PROBES
from ipcore.config import PackConfig, Probes
from ipcore.models import Mlp, ResidualMlp
from ipcore.probes import QUANTITIES, probe_names, probe_problems

ROOT = Path(__file__).parents[3]
GOOD = Probes(("coordinates", "ranks"), layers=(1, 3), steps=(0, 10), interval=5, examples=40)
CONFIG = PackConfig("digits", 2, 8, "relu", 4, steps=10, probes=GOOD)


def problems(train_size: int | None = 40, **changes) -> list[str]:
    return probe_problems(replace(CONFIG, probes=replace(GOOD, **changes)), train_size)


def test_good_probes_have_no_problem():
    assert problems() == []
    assert probe_problems(replace(CONFIG, probes=None), 40) == []
    assert problems(quantities=tuple(PROBES), layers=()) == []
    # Kernels are of hidden layers; that the output is looked at too does no harm.
    assert problems(quantities=("kernels",), layers=(2, 3)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantities": ()}, ["probes.quantities:", "coordinates, parts, gradients"]),
        ({"quantities": ("ranks", "kernel")}, ["probes.quantities[1]:", "'kernel'", "'kernels'"]),
        ({"quantities": ("ranks", "ranks")}, ["probes.quantities[1]:", "twice"]),
        ({"quantities": ("kernels",), "layers": (3,)}, ["probes.quantities[0]:", "cka has layers 1..L"]),
        ({"layers": (1, 4)}, ["probes.layers[1]:", "no layer 4", "1..3"]),
        ({"layers": (0,)}, ["probes.layers[0]:", "no layer 0"]),
        ({"steps": (0, 11)}, ["probes.steps[1]:", "0..10", "11"]),
        ({"steps": (-1,)}, ["probes.steps[0]:", "-1"]),
        ({"steps": (), "interval": 0}, ["probes.steps:", "interval"]),
        ({"interval": -2}, ["probes.interval:", "-2"]),
        ({"examples": 0}, ["probes.examples:", "at least 1"]),
        ({"examples": 41}, ["probes.examples:", "41", "40 training"]),
        ({"examples": 1, "quantities": ("kernels",)}, ["probes.examples:", "at least 2"]),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(changes, words):
    (problem,) = problems(**changes)
    assert all(word in problem for word in words), problem


def test_every_wrong_field_is_named_at_once():
    found = problems(quantities=("x",), layers=(7,), steps=(99,), interval=-1, examples=0)
    assert [text.partition(":")[0] for text in found] == [
        "probes.quantities[0]",
        "probes.layers[0]",
        "probes.interval",
        "probes.steps[0]",
        "probes.examples",
    ]


def test_names_by_layer():
    """At L = 2: h and gradients have layers 1..3, x and kernels 1..2."""
    assert probe_names(Probes(("kernels", "coordinates")), 3) == (
        *("h/1", "h/2", "h/3", "x/1", "x/2", "h_change/1", "h_change/2", "h_change/3"),
        *("x_change/1", "x_change/2", "cka/1", "cka/2"),
    )
    assert probe_names(Probes(("gradients",), layers=(3, 3)), 3) == ("dh/3", "gradient/3", "update/3")
    assert probe_names(None, 2) == ()


def test_every_probe_has_quantities_and_the_reverse():
    assert list(QUANTITIES) == list(PROBES)
    outside = {name for name, probe in PROBES.items() if probe.of_outputs}
    assert {name for name, quantities in QUANTITIES.items() if not quantities} == outside
    assert outside == {"outputs", "paired_outputs"}
    names = [quantity.name for quantities in QUANTITIES.values() for quantity in quantities]
    assert len(set(names)) == len(names)


def test_what_looks_at_outputs_alone_minds_neither_layers_nor_the_probes_inputs():
    outputs = {"quantities": ("outputs",), "layers": (1,), "examples": 64}
    assert problems(**outputs) == []
    assert problems(**outputs | {"quantities": ("outputs", "ranks")}) != []


def test_the_page_names_every_quantity_and_its_layers():
    rows = [line for line in (ROOT / "docs/probes.md").read_text().splitlines() if line.startswith("|")]
    for quantity in (each for quantities in QUANTITIES.values() for each in quantities):
        (row,) = [row for row in rows if f"`{quantity.name}`" in row]
        assert f"| {quantity.first}..{'L+1' if quantity.readout else 'L'} |" in row


def test_parts_are_of_multilayer_perceptrons():
    config = PackConfig(
        "digits", 2, 8, "relu", 4, 10, probes=Probes(("parts",), steps=(0,)), model=Mlp("rms")
    )
    assert probe_problems(config) == []
    assert probe_problems(replace(config, model=ResidualMlp())) == [
        "probes.quantities[0]: parts are those of a multilayer perceptron, not of 'residual-mlp'"
    ]
