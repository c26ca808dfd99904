"""The authors' CIFAR-10 table: their accuracies and ours."""

from __future__ import annotations

from typing import Final

import numpy as np

from reproduction.authors_mnist import accuracies
from reproduction.examples import experiment, smaller
from reproduction.markdown import mean_sd, table
from reproduction.study import Result, Section, Study

_SPEC: Final = experiment("authors-cifar10")
_NAMES: Final = {"relu": "ReLU", "gelu": "GELU", "elu": "ELU", "tanh": "tanh"}
# Mean test accuracy over 5 seeds in the notebooks published with arXiv:2110.15596 (2021); of naive IP they
# give none.
AUTHORS: Final = {
    "ip-llr": {"relu": 0.1000, "gelu": 0.3289, "elu": 0.3829, "tanh": 0.2836},
    "mup": {"relu": 0.4070, "gelu": 0.4194, "elu": 0.3560, "tanh": 0.3043},
    "ip-non-centered": {"relu": 0.1053, "gelu": 0.1029, "elu": 0.1545, "tanh": 0.1466},
    "ip-bias": {"relu": 0.1000, "gelu": 0.1000, "elu": 0.1000, "tanh": 0.1000},
}
# Means that differ by no more are said to agree. Our choice: about two standard errors of IP-LLR's means, and
# more than that of muP's.
AGREES: Final = 0.02


def _section(result: Result) -> Section:
    rows, differences = [], dict[str, float]()
    seeds = len({run.seed for run in result.runs})
    for method in dict.fromkeys(run.parameterization for run in result.runs):
        theirs = AUTHORS.get(method, {})
        ours = {activation: accuracies(result, method, activation) for activation in _NAMES}
        if theirs:
            rows.append([f"{method}, theirs", *(f"{theirs[activation]:.4f}" for activation in _NAMES)])
        rows.append([f"{method}, ours", *(mean_sd(ours[activation]) for activation in _NAMES)])
        differences |= {
            f"{method} {_NAMES[activation]}": float(np.mean(ours[activation])) - theirs[activation]
            for activation in _NAMES
            if theirs and ours[activation]
        }
    spec = result.spec["spec"]
    text = [
        f"Grey images of 32 x 32, six hidden layers of width {spec['grid']['widths'][0]}, batches of "
        f"{spec['batch_size']}, {spec['steps']:,} updates at base rate 0.01, trained on all 50,000 images, "
        "final weights tested; first rates of IP-LLR calibrated with readout target 0.1 and cap 500. Theirs "
        "are the means over 5 seeds in the notebooks published with the paper in 2021; ours are of "
        f"{seeds} seeds, with the standard deviation. Seeds and batches are not theirs.",
        table(["test accuracy", *_NAMES.values()], rows),
        _conclusion(differences),
        "For them and for us muP comes first with ReLU, GELU and tanh, and IP-LLR with ELU. IP-LLR with ReLU "
        "at this depth, naive IP (ip) and IP with biases in every layer (ip-bias) learn nothing, non-centred "
        "weights little.",
    ]
    return Section("\n\n".join(text))


def _conclusion(differences: dict[str, float]) -> str:
    """What agrees and what does not."""
    apart = {name: value for name, value in differences.items() if abs(value) > AGREES}
    largest = sorted(differences, key=lambda name: -abs(differences[name]))[:3]
    said = ", ".join(f"{name} {differences[name]:+.4f}" for name in largest)
    agree = f"{len(differences) - len(apart)} of their {len(differences)} means agree with ours to {AGREES}"
    others = f"; not {', '.join(apart)}" if apart else ""
    return f"{agree}{others}. The largest differences, ours less theirs: {said}."


STUDY: Final = Study(
    name="authors-cifar10",
    title="The authors' CIFAR-10 table",
    spec=_SPEC,
    quick=smaller(_SPEC, steps=20, widths=[64], seeds=[0], activations=["relu", "gelu", "elu", "tanh"]),
    section=_section,
    file="authors.jsonl",
)
