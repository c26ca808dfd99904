"""The authors' MNIST experiment: their accuracies and ours."""

from __future__ import annotations

from typing import Final

import numpy as np

from reproduction.examples import experiment, smaller
from reproduction.markdown import mean_sd, table
from reproduction.study import Result, Section, Study

_ROW: Final = experiment("authors-mnist")
_METHODS: Final = experiment("authors-mnist-methods")
# Mean test accuracy over 5 seeds in the notebooks published with arXiv:2110.15596 (2021).
AUTHORS: Final = {"relu": 0.1127, "gelu": 0.9556, "elu": 0.9643, "tanh": 0.9323}
_NAMES: Final = {"relu": "ReLU", "gelu": "GELU", "elu": "ELU", "tanh": "tanh"}


def accuracies(result: Result, parameterization: str, activation: str) -> list[float]:
    """Final test accuracies, by seed; a run that diverged has none."""
    chosen = result.select(parameterization=parameterization, activation=activation)
    return [run.values["test_accuracy"] for run in chosen if "test_accuracy" in run.values]


def _row_section(result: Result) -> Section:
    head = ["test accuracy", *_NAMES.values()]
    ours = [accuracies(result, "ip-llr", activation) for activation in _NAMES]
    seeds = sorted({run.seed for run in result.runs})
    rows = [
        ["theirs, mean of 5 seeds", *(f"{AUTHORS[activation]:.4f}" for activation in _NAMES)],
        [f"ours, {len(seeds)} seeds", *(mean_sd(values) for values in ours)],
    ]
    rows += [[f"ours, seed {seed}", *(_one(result, name, seed) for name in _NAMES)] for seed in seeds]
    differences = [
        f"{_NAMES[activation]} {np.mean(values) - AUTHORS[activation]:+.3f}"
        for activation, values in zip(_NAMES, ours, strict=True)
        if values
    ]
    text = [
        "IP-LLR with six hidden layers of width 1024, batches of 512, 600 updates at base rate 0.01, first "
        "rates calibrated with readout target 0.1 and cap 500, trained on all 60,000 images, final weights "
        "tested. Theirs are the means in the notebooks published with the paper in 2021; seeds and batches "
        "are not theirs.",
        table(head, rows),
        f"Ours less theirs: {', '.join(differences)}. ReLU stays at chance for them and for us: see below.",
    ]
    return Section("\n\n".join(text))


def _one(result: Result, activation: str, seed: int) -> str:
    chosen = result.select(activation=activation, seed=seed)
    return ", ".join(
        f"{run.values['test_accuracy']:.4f}" if "test_accuracy" in run.values else "diverged"
        for run in chosen
    )


def _methods_section(result: Result) -> Section:
    rows, activations = [], result.spec["spec"]["grid"]["activations"]
    for label in dict.fromkeys(run.parameterization for run in result.runs):
        cells = []
        for activation in activations:
            (run,) = result.select(parameterization=label, activation=activation)
            accuracy, loss = run.values.get("test_accuracy"), run.values.get("test_loss")
            cells.append("diverged" if accuracy is None else f"{accuracy:.4f} ({loss:.3f})")
        rows.append([label, *cells])
    text = [
        "The other methods in the same setting, one seed: test accuracy (test loss; chance is ln 10 = "
        "2.303). No first rates are calibrated; hp is what IP-LLR is without calibration (T3). The authors' "
        "notebooks give these methods on CIFAR-10 only, so there is no number of theirs to stand beside.",
        table(["", *(_NAMES[activation] for activation in activations)], rows),
    ]
    return Section("\n\n".join(text))


ROW: Final = Study(
    name="authors-mnist",
    title="The authors' MNIST experiment: IP-LLR",
    spec=_ROW,
    quick=smaller(_ROW, steps=20, widths=[64], seeds=[0, 1]),
    section=_row_section,
)
METHODS: Final = Study(
    name="authors-mnist-methods",
    title="The authors' MNIST experiment: other methods",
    spec=_METHODS,
    quick=smaller(_METHODS, steps=20, widths=[64]),
    section=_methods_section,
)
