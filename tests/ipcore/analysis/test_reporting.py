"""Which kinds of check apply to measurements, and what a report says of the others; without a service."""

from dataclasses import replace

import numpy as np
import pytest

from ipcore.analysis import Measured, Run, Subject, Trained, Verdict, make_report, reporting
from ipcore.analysis.kinds import KINDS
from ipcore.analysis.kinds.coordinates import COORDINATES
from ipcore.theory import preset

WIDTHS, SEEDS = (64, 128, 256, 512), (0, 1, 2)
TRAINED = Trained(widths=WIDTHS, optimizer="sgd", loss="cross_entropy", exponents=preset)
MUP = Subject("mup", "mup", 2, "relu", 0.1, 3)
STEPS = (0, 1)
# muP: everything is of order 1 except the output at step 0, which is of order m^-1/2.
SIZES = {("h", layer, 0): -0.5 if layer == 3 else 0.0 for layer in (1, 2, 3)}
SIZES |= {("h_change", layer, 1): 0.0 for layer in (1, 2, 3)}


def runs_of(subject, **more):
    values = {"diverged": False, "final_test_loss": None} | more
    return tuple(Run(m, seed, subject.base_learning_rate, **values) for m in WIDTHS for seed in SEEDS)


def sizes_of(exponents, runs):
    noise = np.random.default_rng(0)
    return {
        key: {(run.width, run.seed): run.width**power * np.exp(noise.normal(0, 0.01)) for run in runs}
        for key, power in exponents.items()
    }


def measured(subject=MUP, exponents=SIZES, steps=STEPS, **more):
    runs = runs_of(subject)
    return Measured({subject: runs}, {subject: sizes_of(exponents, runs)}, steps, **more)


def kinds(report):
    return [check.kind for check in report.checks]


def test_what_follows_theory_agrees_in_every_kind_that_applies():
    report = make_report(TRAINED, measured())
    assert kinds(report) == ["COORDINATE"] * 6 + ["STATIONARITY"]
    assert {check.verdict for check in report.checks} == {Verdict.AGREES}
    assert [(c.subject, c.verdict) for c in report.conclusions] == [(MUP, Verdict.AGREES)]
    assert report.notes == ()


def test_without_recorded_steps_nothing_is_said_of_single_subjects():
    report = make_report(TRAINED, measured(steps=(), exponents={}))
    assert (report.checks, report.conclusions, report.notes) == ((), (), (COORDINATES.missing,))


def test_calibrated_rates_apply_to_calibrated_labels_alone():
    calibrated = replace(MUP, parameterization="mine")
    runs = {subject: runs_of(subject, calibrated_rates=(0.1, 2.0, 7.0)) for subject in (MUP, calibrated)}
    report = make_report(replace(TRAINED, caps={"mine": 5.0}), Measured(runs, {}, ()))
    assert {(check.kind, check.subject, check.layer) for check in report.checks} == {
        ("CALIBRATED_RATE", calibrated, 2)
    }
    assert (
        f"{calibrated}: 12 calibrated rates are left out: they are the cap 5, no measurement"
        in (report.notes[1])
    )


@pytest.mark.parametrize("rates", [(0.1, 0.2), (0.1, 0.2, 0.4)])
def test_rate_transfer_needs_three_rates_and_joins_their_subjects(rates):
    loss = {0.1: 0.3, 0.2: 0.1, 0.4: 0.2}
    subjects = [replace(MUP, base_learning_rate=rate) for rate in rates]
    runs = {s: runs_of(s, final_test_loss=loss[s.base_learning_rate]) for s in subjects}
    report = make_report(TRAINED, Measured(runs, {}, ()))
    assert kinds(report) == ["RATE_TRANSFER"] * (len(rates) == 3)
    assert all(check.subject == replace(MUP, base_learning_rate=0.0) for check in report.checks)


def test_weight_decay_leaves_initial_sizes():
    report = make_report(replace(TRAINED, weight_decay=0.1), measured())
    assert [(check.kind, check.step) for check in report.checks] == [("COORDINATE", 0)] * 3
    assert [note.partition(":")[0] for note in report.notes] == ["changes are not checked"]


def test_models_beyond_theory_are_measured_without_a_verdict():
    report = make_report(replace(TRAINED, not_covered="no perceptron"), measured())
    assert kinds(report) == ["COORDINATE"] * 6
    assert {(check.predicted, check.verdict) for check in report.checks} == {(None, Verdict.UNDECIDED)}
    assert report.notes == (f"{MUP}: theory does not cover it: no perceptron",)


def test_a_loss_beyond_theory_is_noted():
    report = make_report(replace(TRAINED, loss="unheard-of"), measured())
    assert {check.verdict for check in report.checks} == {Verdict.UNDECIDED}
    assert report.notes[0].startswith(f"{MUP}: theory does not cover it: ")


def test_deep_networks_are_not_analysed():
    report = make_report(replace(TRAINED, max_hidden_layers=1), measured())
    assert {check.predicted for check in report.checks} == {None}
    assert report.notes == (f"{MUP}: not analysed: more than 1 hidden layers",)


def test_widths_too_few_for_a_slope_end_the_report():
    report = make_report(replace(TRAINED, widths=(128, 64)), measured(unfinished=2, truncated=True))
    assert report.checks == ()
    assert report.notes == (
        "2 runs have not ended; only what is committed is checked",
        "there are too many points; choose fewer steps",
        "a slope needs at least 3 widths, the experiment has 64, 128: add widths to grid.widths",
    )


def test_a_report_ends_somewhere(monkeypatch):
    """Seven checks per subject: the second subject exceeds the limit, and the third is left out."""
    monkeypatch.setattr(reporting, "MAX_CHECKS", 10)
    subjects = [MUP, replace(MUP, base_learning_rate=0.2), replace(MUP, base_learning_rate=0.3)]
    runs = {subject: runs_of(subject) for subject in subjects}
    sizes = {subject: sizes_of(SIZES, runs[subject]) for subject in subjects}
    report = make_report(TRAINED, Measured(runs, sizes, STEPS))
    assert "only the first 10 checks are made; choose fewer steps" in report.notes
    assert {check.subject for check in report.checks} == set(subjects[:2])


@pytest.mark.parametrize("probes", [{"coordinates"}, {"coordinates", "alignment"}, {"alignment"}])
@pytest.mark.parametrize("asked", [[], ["ALIGNMENT"]])
def test_alignment_is_checked_if_asked_for_and_recorded(probes, asked):
    thetas = {("alignment_update", layer, 1): 0.0 for layer in (2, 3)}
    runs = runs_of(MUP)
    ones = {key: dict.fromkeys(values, 1.0) for key, values in sizes_of(thetas, runs).items()}
    sizes = {MUP: sizes_of(SIZES, runs) | ones}
    report = make_report(
        replace(TRAINED, probes=frozenset(probes)), Measured({MUP: runs}, sizes, STEPS), 0.1, asked
    )
    checked = bool(asked) and "alignment" in probes
    assert kinds(report).count("ALIGNMENT") == 2 * checked
    assert [(c.subject, c.verdict) for c in report.alignments] == [(MUP, Verdict.AGREES)] * checked
    assert ("COORDINATE" in kinds(report)) == ("coordinates" in probes)
    missing = {"coordinates"} - probes | ({"alignment"} - probes if asked else set())
    assert {note.split()[0] for note in report.notes} == missing


def test_kinds_have_names_of_their_own():
    assert len({kind.name for kind in KINDS}) == len(KINDS)
