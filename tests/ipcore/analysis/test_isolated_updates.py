"""The check of isolated updates: on exact powers of the width, and on networks with one wrong exponent."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ipcore.analysis import Measured, Run, Subject, Trained, Verdict, make_report
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

WIDTHS, SEEDS = (64, 128, 256, 512), (0, 1, 2)
TRAINED = Trained(WIDTHS, "sgd", "cross_entropy", preset, probes=frozenset({"isolated_updates"}))
SUBJECT = Subject("mine", "mup", 2, "tanh", 0.1, 3)
RIGHT = {("isolated_change", layer, step): 0.0 for layer in (1, 2, 3) for step in (1, 2)}
RIGHT |= {("isolated_bias_change", 1, step): 0.0 for step in (1, 2)}


def report_of(exponents, trained=TRAINED, subject=SUBJECT, seeds=SEEDS, **more):
    runs = tuple(
        Run(m, seed, 0.1, diverged=False, final_test_loss=None, **more) for m in WIDTHS for seed in seeds
    )
    noise = np.random.default_rng(0)
    sizes = {
        key: {(run.width, run.seed): run.width**power * np.exp(noise.normal(0, 0.01)) for run in runs}
        for key, power in exponents.items()
    }
    return make_report(trained, Measured({subject: runs}, {subject: sizes}, (1, 2)))


def verdicts(report):
    return {(c.quantity, c.layer, c.step): c.verdict for c in report.checks}


def test_right_exponents_agree_in_one_sentence():
    report = report_of(RIGHT)
    assert {check.kind for check in report.checks} == {"ISOLATED_UPDATE"}
    assert set(verdicts(report).values()) == {Verdict.AGREES}
    (conclusion,) = report.conclusions
    assert (conclusion.verdict, conclusion.sentence) == (Verdict.AGREES, "isolated updates: 8 of 8 agree")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({("isolated_change", 2, 1): -0.5}, "layer 2 disagrees at update 1"),
        ({("isolated_change", 3, 2): 0.5}, "the output disagrees at update 2"),
        (
            {("isolated_bias_change", 1, 2): -1.0},
            "layer 1 (its bias) disagrees at update 2",
        ),
        # The first by step, then by layer, is named.
        (
            {("isolated_change", 1, 2): 1.0, ("isolated_change", 3, 1): 1.0},
            "the output disagrees at update 1",
        ),
    ],
)
def test_the_first_wrong_layer_and_update_are_named(wrong, words):
    """Too small is wrong, too: there is one term, so nothing can be hidden."""
    report = report_of(RIGHT | wrong)
    assert {key for key, verdict in verdicts(report).items() if verdict is Verdict.DISAGREES} == wrong.keys()
    (conclusion,) = report.conclusions
    assert conclusion.sentence.startswith(f"isolated updates: {words}: slope "), conclusion.sentence


def test_what_is_missing_keeps_the_whole_from_agreeing():
    report = report_of(RIGHT | {("isolated_change", 2, 1): float("nan")})
    assert report.conclusions[0].verdict is Verdict.UNDECIDED
    assert "1 could not be checked" in report.conclusions[0].sentence
    assert any("change of h^2 by update 1 of its matrix alone" in note for note in report.notes)


def test_a_width_at_which_every_run_diverged_is_missed():
    runs = tuple(Run(m, seed, 0.1, diverged=m == 512, final_test_loss=None) for m in WIDTHS for seed in SEEDS)
    sizes = {key: {(m, seed): 1.0 + seed / 100 for m in WIDTHS[:-1] for seed in SEEDS} for key in RIGHT}
    report = make_report(TRAINED, Measured({SUBJECT: runs}, {SUBJECT: sizes}, (1, 2)))
    assert report.conclusions[0].verdict is Verdict.UNDECIDED
    assert any("runs at width 512 have no value" in note for note in report.notes)


def test_without_a_theory_slopes_are_measured_without_a_verdict():
    report = report_of(RIGHT, replace(TRAINED, not_covered="its loss"))
    assert set(verdicts(report).values()) == {Verdict.UNDECIDED}
    assert all("no prediction" in check.sentence for check in report.checks)
    assert report.conclusions == ()


def test_weight_decay_does_not_matter():
    report = report_of(RIGHT, replace(TRAINED, weight_decay=0.1))
    assert report.conclusions[0].verdict is Verdict.AGREES


@pytest.mark.parametrize(("activation", "steps"), [("relu", {1, 2}), ("tanh", {2})])
def test_calibrated_first_updates_of_unaligned_layers_are_left_out(activation, steps):
    """IP-LLR with tanh lacks alignment in layer 3, so calibration makes its first rate larger."""
    subject = replace(SUBJECT, reference="ip-llr", activation=activation)
    report = report_of(
        RIGHT, replace(TRAINED, caps={"mine": 1000.0}), subject, calibrated_rates=(0.1, 2.0, 3.0)
    )
    assert {check.step for check in report.checks if check.kind == "ISOLATED_UPDATE"} == steps
    assert any("update 1 is not checked" in note for note in report.notes) == (1 not in steps)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_networks_with_one_wrong_rate(digits: Dataset, layer: int):
    """Layer 0: none is wrong."""
    p = preset("mup", 2)
    if layer:
        c = tuple(entry + Fraction(i == layer - 1) for i, entry in enumerate(p.c_at(0)))
        p = replace(p, phases=(replace(p.phases[0], c=c),))
    probes = Probes(("isolated_updates",), steps=(1, 2))
    runs, sizes, widths = [], {}, (32, 64, 128, 256)
    for width in widths:
        config = PackConfig("digits", 2, width, "tanh", 64, 2, weights="none", probes=probes)
        trainer = Trainer(config, [RunConfig(p, 0.1, seed) for seed in range(6)], digits)
        runs += [Run(width, seed, 0.1, diverged=False, final_test_loss=None) for seed in range(6)]
        for run, name, step, value in trainer.advance().points.rows():
            quantity, _, number = name.partition("/")
            if number:
                sizes.setdefault((quantity, int(number), step), {})[width, run] = value
    measured = Measured({SUBJECT: tuple(runs)}, {SUBJECT: sizes}, (1, 2))
    report = make_report(replace(TRAINED, widths=widths), measured, tolerance=0.2)
    wrong = {(c.quantity, c.layer, c.step) for c in report.checks if c.verdict is Verdict.DISAGREES}
    expected = {("isolated_change", layer, step) for step in (1, 2)} if layer else set()
    expected |= {("isolated_bias_change", 1, step) for step in (1, 2)} if layer == 1 else set()
    assert wrong == expected
