"""The paper's figures: every study exists; what the new ones measure, against independent computations."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

import ipcore
from ipcore.probes.state import look
from ipcore.theory import preset
from reproduction.paper import contributions, functions, kept_rates, second_steps
from reproduction.paper.figures import FIGURES
from reproduction.paper.page import names, render
from reproduction.results import measured_now, save
from reproduction.studies import STUDIES
from reproduction.study import ROOT, Measured


def trainer(name, steps=2, activation="relu", seeds=(0,), **more):
    config = ipcore.PackConfig("digits", 3, 16, activation, 32, steps, weights="none")
    runs = [ipcore.RunConfig(preset(name, 3), 0.5, seed, **more) for seed in seeds]
    return ipcore.Trainer(config, runs, ipcore.load_dataset("digits"))


@pytest.mark.parametrize(("variables", "small"), [([], False), (["QUICK=1"], True)])
def test_the_command_is_in_full_unless_asked_for_in_small(variables, small):
    command = subprocess.run(
        ["make", "--dry-run", "paper", *variables], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "reproduction --paper" in command
    assert ("--quick" in command) == small


def test_every_study_of_a_figure_exists():
    assert set(names()) <= set(STUDIES)
    assert all(figure.studies for figure in FIGURES)


def test_the_page_shows_what_was_measured_and_names_what_was_not(tmp_path):
    spec = kept_rates.STUDY.quick | {"widths": [8, 16, 32], "activations": ["relu"], "seeds": 2}
    runs = list(kept_rates.STUDY.measure(spec, lambda done: None))
    study = replace(kept_rates.STUDY, quick=spec)
    save(measured_now(study.name, spec, 1.0, runs), tmp_path)
    page = render(STUDIES | {study.name: study}, tmp_path, quick=True)
    assert "![Large rates kept too long](reproduction/kept-rates.svg)" in page
    assert "`python -m reproduction ranks`" in page
    assert "| [Large rates kept too long](#large-rates-kept-too-long) | 1 of 1 |" in page


def test_contributions_are_those_of_the_two_parts_of_a_layer():
    """From layer 2 on there are no biases: the parts add up to h."""
    trained = trainer("mup")
    initial = [weight.clone() for weight in trained.pack.weights]
    trained.advance()
    inputs = torch.from_numpy(trained.dataset.train.inputs[:8])
    (found,) = contributions.contributions(trained, initial, inputs)
    h = look(trained.pack, slice(None), inputs).h
    x = torch.relu(h[2][0])
    first, last = initial[2][0], trained.pack.weights[2][0]
    assert found["initial/3"] == pytest.approx(float((x @ first.T).abs().mean()), rel=1e-5)
    assert found["updates/3"] == pytest.approx(float((x @ (last - first).T).abs().mean()), rel=1e-4)
    assert torch.allclose(x @ first.T + x @ (last - first).T, h[3][0], rtol=1e-4, atol=1e-6)


def test_kept_rates_are_those_of_the_first_step_at_all_steps():
    kept, llr = (kept_rates.parameterization(name, 3) for name in ("large rates kept", "ip-llr"))
    assert [phase.c for phase in kept.phases] == [llr.phases[0].c]
    assert len(llr.phases) == 2


def test_rates_of_the_second_step_are_calibrated_like_those_of_the_first():
    """Before any update, with rates that do not change after step 0, both are the same."""
    uncapped = ipcore.Calibration(readout_target=1.0, cap=1e30)
    untrained = trainer("mup", calibration=uncapped, seeds=(0, 1))
    found = second_steps.second_rates(untrained)
    for position, rates in enumerate(found):
        assert rates == pytest.approx(untrained.calibrated_rates[position], rel=1e-6)


def test_the_best_rate_of_a_function_is_one_at_which_no_seed_diverged():
    runs = [
        Measured("mup", 3, 8, "relu", rate, seed, {} if loss is None else {"train_loss": loss})
        for rate, losses in {0.1: (0.3, 0.1), 0.2: (0.1, 0.1), 0.4: (0.01, None)}.items()
        for seed, loss in enumerate(losses)
    ]
    rate, chosen = functions.best(measured_now("functions", {}, 0.0, runs), "mup", "relu")
    assert (rate, len(chosen)) == (0.2, 2)
    assert np.allclose(functions.target(np.array([0.25, -0.25, 0.5])), [1, -1, 0])
