"""The engine against plain PyTorch (`tests.ipcore.plain`), run by run from the same initial weights.

Packs are drawn, with a fixed seed, from the product of all choices for a pack and its runs; every compatible
pair of choices occurs. In double precision both must agree to 1e-9. In single precision and bfloat16 both are
compared with plain PyTorch in double precision: the engine's error may exceed PyTorch's in the same format by
a few units in the last place, and on average not at all. (Runs whose loss blows up are compared up to that
update.)
"""

from __future__ import annotations

import copy
import itertools
import random
import statistics
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch

from ipcore.catalogue import ACTIVATIONS, BIASES, LOSSES, OPTIMIZERS, SCHEDULES
from ipcore.config import Calibration, OptimizerSettings, PackConfig, RunConfig, Schedule
from ipcore.data import Dataset, Split
from ipcore.models.network import Network
from ipcore.theory import PRESETS, preset
from ipcore.training.trainer import Trainer
from tests.ipcore.plain import PHI, Plain

STEPS, BATCH, EXAMPLES, D = 5, 4, 12, 3
RUNS = 12  # in each pack
# In each precision. Kinds of Muon differ by a factor.
PACKS = {name: 5 if name.startswith("muon-") else 14 for name in OPTIMIZERS}
KINDS = {
    "cross_entropy": "three", "mse": "three", "mse of targets": "targets", "logistic": "two",
    "exponential": "two",
}  # fmt: skip
SCHEDULED = {
    "constant": Schedule(),
    "linear": Schedule("linear", warmup_steps=2),
    "cosine": Schedule("cosine", final_fraction=0.1),
    "step": Schedule("step", milestones=(1, 3), decay=0.5),
}
DECAYS = {"none": 0.0, "small": 1e-6, "ordinary": 0.02}  # eta lambda, per update
PRECISIONS = {
    "double": (torch.float64, "fp32"),
    "single": (torch.float32, "fp32"),
    "bf16": (torch.float32, "bf16"),
}
Choice = tuple[str, str]
exponents = cache(preset)  # the same few for thousands of runs


@dataclass(frozen=True)
class Case:
    """A pack, and the choices for each of its runs."""

    config: PackConfig
    runs: tuple[RunConfig, ...]
    data: str
    choices: tuple[frozenset[Choice], ...]


@cache
def dataset(kind: str) -> Dataset:
    rng = np.random.default_rng(1)
    classes = {"three": 3, "two": 2, "targets": 0}[kind]

    def split(n: int) -> Split:
        inputs = rng.standard_normal((n, D)).astype(np.float32)
        labels = rng.integers(0, classes, n) if classes else rng.standard_normal((n, 2)).astype(np.float32)
        return Split(inputs, labels)

    return Dataset(f"registered:{kind}", split(EXAMPLES), split(5), classes)


@cache
def cases(optimizer: str, precision: str) -> list[Case]:
    rng = random.Random(f"{optimizer} {precision}")
    decks: dict[tuple[str, ...], list[str]] = {}

    def draw(*options: str) -> str:
        """Every option occurs before one occurs again."""
        deck = decks.setdefault(options, [])
        if not deck:
            deck += rng.sample(options, len(options))
        return deck.pop()

    earlier = list(OPTIMIZERS)[: list(OPTIMIZERS).index(optimizer)]
    first = len(PRECISIONS) * sum(PACKS[name] for name in earlier)
    first += list(PRECISIONS).index(precision) * PACKS[optimizer]
    return [_case(first + i, optimizer, precision, draw, rng) for i in range(PACKS[optimizer])]


def _case(number: int, optimizer: str, precision: str, draw, rng: random.Random) -> Case:
    # 5 losses and 14 activations have no common factor: 70 packs in a row have all their pairs.
    kind, activation = (list(options)[number % len(options)] for options in (KINDS, PHI))
    schedule = list(SCHEDULES)[(number + number // len(PHI)) % len(SCHEDULES)]
    bias, depth = draw(*BIASES), int(draw("1", "2", "3"))
    config = PackConfig(
        f"registered:{KINDS[kind]}",
        depth,
        rng.choice([5, 8]),
        activation,
        BATCH,
        STEPS,
        loss=kind.partition(" ")[0],
        bias=bias,
        optimizer=optimizer,
        metrics_interval=1,
        schedule=SCHEDULED[schedule],
        precision=PRECISIONS[precision][1],
    )
    shared = {
        ("optimizer", optimizer), ("precision", precision), ("loss", kind), ("activation", activation),
        ("schedule", schedule), ("bias", bias), ("depth", str(depth)),
    }  # fmt: skip
    runs, choices = [], []
    sized = OPTIMIZERS[optimizer].entrywise
    known = [
        name
        for name, entry in PRESETS.items()
        if (not sized or entry.build_adam) and depth <= (entry.largest_depth or depth)
    ]
    for seed in range(RUNS):
        name = draw(*known)
        decay = "none" if optimizer == "adam" else draw(*DECAYS)
        calibrated = "no" if sized or name == "ip-bias" else draw("no", "yes")
        rate = rng.choice([0.003, 0.01] if sized else [0.03, 0.1])
        runs.append(
            RunConfig(
                exponents(name, depth, optimizer=optimizer),
                rate,
                seed,
                Calibration(cap=20.0) if calibrated == "yes" else None,
                OptimizerSettings(
                    momentum=rng.choice([0.5, 0.9]),
                    beta1=rng.choice([0.5, 0.9]),
                    beta2=rng.choice([0.9, 0.999]),
                    epsilon=rng.choice([1e-8, 1e-2]),
                    weight_decay=DECAYS[decay] / rate,
                    newton_schulz_steps=rng.choice([3, 5]),
                ),
            )
        )
        choices.append(frozenset(shared | {("preset", name), ("decay", decay), ("calibrated", calibrated)}))
    return Case(config, tuple(runs), KINDS[kind], tuple(choices))


def fresh(case: Case, dtype: torch.dtype) -> Trainer:
    return Trainer(case.config, case.runs, dataset(case.data), dtype=dtype)


def networks(trainer: Trainer) -> list[Network]:
    return [trainer.network(position) for position in range(len(trainer.runs))]


def train(trainer: Trainer) -> np.ndarray:
    """Train to the end; the training losses (run, step)."""
    losses = np.full((len(trainer.runs), STEPS), np.inf)
    for run, metric, step, value in trainer.advance().points.rows():
        if metric == "train_loss":
            losses[run, step - 1] = value
    return losses


def plain(case: Case, position: int, start, dtype: torch.dtype, compute: torch.dtype | None = None) -> Plain:
    run = Plain(case.config, case.runs[position], start, dataset(case.data), dtype, compute)
    run.train()
    return run


def distance(found, truth: Plain) -> float:
    """The largest relative distance of a tensor."""
    pairs = zip(found, [*truth.w, *truth.b], strict=True)
    return max(
        ((a.detach().double() - b.detach()).norm() / b.detach().norm().clamp(min=1e-30)).item()
        for a, b in pairs
    )


def sensitivity(case: Case, position: int, start, truth: Plain, unit: float) -> float:
    """The largest distance that roundings of the initial weights alone, by half a unit, lead to."""
    distances = []
    for seed in range(3):
        normals = torch.Generator().manual_seed(seed)
        rounded = copy.deepcopy(start)
        for weight in rounded.weights:
            weight.mul_(1 + unit / 2 * torch.randn(weight.shape, generator=normals, dtype=torch.float64))
        other = plain(case, position, rounded, torch.float64)
        distances.append(distance((*other.w, *other.b), truth))
    return max(distances)


def steps_before_blow_up(run: Plain) -> int:
    """Updates whose loss is so small that small differences stay small."""
    large = np.flatnonzero(~(np.array(run.losses) < 100))
    return int(large[0]) if len(large) else STEPS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_in_double_precision_they_are_one(optimizer: str):
    blown_up = 0
    for case in cases(optimizer, "double"):
        trainer = fresh(case, torch.float64)
        rates, starts = trainer.calibrated_rates, networks(trainer)
        losses = train(trainer)
        for position, start in enumerate(starts):
            truth = plain(case, position, start, torch.float64)
            said = sorted(case.choices[position])
            if truth.first_rates is not None:
                assert rates[position] == pytest.approx(truth.first_rates, rel=1e-9), said
            sane = steps_before_blow_up(truth)
            assert losses[position][:sane] == pytest.approx(truth.losses[:sane], rel=1e-9, abs=1e-12), said
            if sane < STEPS:
                blown_up += 1
                continue
            network = trainer.network(position)
            assert distance((*network.weights, *network.biases), truth) < 1e-9, said
    assert blown_up < 0.1 * PACKS[optimizer] * RUNS


@pytest.mark.parametrize("precision", ["single", "bf16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_in_less_the_engine_is_as_close_to_the_truth_as_pytorch(optimizer: str, precision: str):
    unit = torch.finfo(torch.bfloat16 if precision == "bf16" else torch.float32).eps
    compute = torch.bfloat16 if precision == "bf16" else None
    ratios = []
    for case in cases(optimizer, precision):
        starts = networks(fresh(case, torch.float64))
        trainer = fresh(case, torch.float32)
        train(trainer)
        for position, start in enumerate(starts):
            truth = plain(case, position, start, torch.float64)
            other = plain(case, position, start, torch.float32, compute)
            if min(steps_before_blow_up(truth), steps_before_blow_up(other)) < STEPS:
                continue
            network = trainer.network(position)
            ours = distance((*network.weights, *network.biases), truth)
            theirs = distance((*other.w, *other.b), truth)
            if ours > 4 * (theirs + 2 * unit):  # PyTorch's rounding may have been lucky
                theirs = max(theirs, sensitivity(case, position, start, truth, unit))
            assert ours <= 4 * (theirs + 2 * unit), sorted(case.choices[position])
            ratios.append((ours + unit / 4) / (theirs + unit / 4))
    assert len(ratios) > 0.9 * PACKS[optimizer] * RUNS
    assert statistics.geometric_mean(ratios) < 1.15


def test_every_pair_of_choices_that_go_together_is_met():
    every = [case for o in OPTIMIZERS for p in PRECISIONS for case in cases(o, p)]
    assert sum(len(case.runs) for case in every) == 4_068
    met = {
        pair
        for case in every
        for chosen in case.choices
        for pair in itertools.combinations(sorted(chosen), 2)
    }
    axes: dict[str, set[str]] = {}
    for axis, value in {choice for pair in met for choice in pair}:
        axes.setdefault(axis, set()).add(value)
    assert axes["activation"] == set(ACTIVATIONS) | {"relu^2", "relu^3/2"}
    assert axes["loss"] == set(KINDS)
    assert {kind.partition(" ")[0] for kind in KINDS} == set(LOSSES)
    assert axes["preset"] == set(PRESETS)
    assert axes["schedule"] == set(SCHEDULED) == set(SCHEDULES)
    missed = []
    for one, other in itertools.combinations(sorted(axes), 2):
        pairs = itertools.product([(one, v) for v in axes[one]], [(other, v) for v in axes[other]])
        missed += [pair for pair in pairs if tuple(sorted(pair)) not in met and together(dict(pair))]
    assert missed == []


def together(chosen: dict[str, str]) -> bool:
    """Whether two choices are compatible."""
    sized = chosen.get("optimizer") is not None and OPTIMIZERS[chosen["optimizer"]].entrywise
    name = chosen.get("preset")
    if sized and name is not None and PRESETS[name].build_adam is None:
        return False
    if name == "mfp" and chosen.get("depth", "1") != "1":
        return False
    if chosen.get("calibrated") == "yes" and (sized or name == "ip-bias"):
        return False
    return not (chosen.get("optimizer") == "adam" and chosen.get("decay", "none") != "none")
