"""Outputs and final test losses beside those of infinite width: distances, slopes, widths needed, by hand."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ipcore import theory
from ipcore.analysis.case import Measured, Run, Trained
from ipcore.analysis.output_distance import Outputs
from ipcore.analysis.report import Subject
from ipcore.analysis.reporting import make_report
from ipcore.catalogue.widths import INFINITE_WIDTH

HPZ = Subject("hpz", "hpz", 2, "relu", 0.1, 3)
WIDTHS = (64, 256, 1024)


def trained():
    def exponents(name, hidden_layers):
        return theory.preset(name, hidden_layers)

    return Trained(WIDTHS, "sgd", "cross_entropy", exponents)


def run(width, seed, loss, **more):
    return Run(width, seed, 0.1, diverged=False, final_test_loss=loss, **more)


def report(off, seeds=range(8), limit_error=0.01, limit_seeds=None):
    """Of networks whose loss is off(m, seed) from the limit's, which is 2 at every seed."""
    runs = tuple(run(m, s, 2 + off(m, s)) for m in WIDTHS for s in seeds)
    limits = tuple(
        run(1, s, 2.0, limit_error=limit_error) for s in (seeds if limit_seeds is None else limit_seeds)
    )
    return make_report(trained(), Measured({HPZ: runs}, {}, (), limits={HPZ: limits}))


def only(found):
    (check,) = [check for check in found.checks if check.kind == "LIMIT"]
    return check


def test_distances_are_root_mean_squares_relative_to_the_loss():
    """Signs alternate over seeds: no bias, D = 4 m^(-1/2) / 2."""
    check = only(report(lambda m, s: (-1) ** s * 4 * m**-0.5))
    assert [point.value for point in check.points] == pytest.approx([2 * m**-0.5 for m in WIDTHS])
    assert check.slope == pytest.approx(-0.5)
    assert str(check.verdict) == "agrees"
    # 2 m^(-1/2) = .05 at m = 1600 and .01 at 40,000; an unbiased estimate of no bias is below 0.
    assert "5 % is reached at width m* = 1,600" in check.sentence
    assert "1 % is reached at width m* = 40,000" in check.sentence
    assert "(extrapolated)" in check.sentence
    assert "0 % of its square is bias" in check.sentence
    assert "own error of f is 1 %" in check.sentence


def test_a_common_distance_is_bias():
    check = only(report(lambda m, s: 4 * m**-0.5))
    assert "100 % of its square is bias" in check.sentence


def test_each_network_is_compared_with_the_limit_of_its_seed():
    runs = tuple(run(m, s, 2 + s + 0.1 * m**-0.5) for m in WIDTHS for s in range(4))
    limits = tuple(run(1, s, 2.0 + s) for s in range(4))
    check = only(make_report(trained(), Measured({HPZ: runs}, {}, (), limits={HPZ: limits})))
    unit = np.sqrt(np.mean([(2.0 + s) ** 2 for s in range(4)]))
    assert [point.value for point in check.points] == pytest.approx([0.1 * m**-0.5 / unit for m in WIDTHS])


def test_a_distance_that_does_not_fall_disagrees():
    check = only(report(lambda m, s: (-1) ** s * 0.2))
    assert str(check.verdict) == "disagrees"
    assert "may not fall" in check.sentence


@pytest.mark.parametrize(
    ("seeds", "limit_seeds", "said"),
    [(range(1), None, "one seed"), (range(4), range(5, 9), "no seed has ended")],
)
def test_what_cannot_be_compared_is_a_note(seeds, limit_seeds, said):
    found = report(lambda m, s: m**-0.5, seeds=seeds, limit_seeds=limit_seeds)
    assert not found.checks
    assert any(said in note for note in found.notes)


def outputs_of(step_off, error=0.0):
    """At every step in `step_off`: networks step_off[step](m) off at random from limits of mean square 4."""
    found = {}
    for step, off in step_off.items():
        common = np.random.default_rng(1).choice([-1.0, 1.0], 128) * 2 / 128**0.5
        at = found.setdefault(step, {})
        for s in range(8):
            at[INFINITE_WIDTH, s] = Outputs(4.0, common, error)
            for m in WIDTHS:
                signs = np.random.default_rng([m, s, step]).choice([-1.0, 1.0], 128)
                at[m, s] = Outputs(4.0, common + 2 * off(m) * signs / 128**0.5)
    return found


def with_outputs(outputs, **more):
    runs = tuple(run(m, s, 2.0) for m in WIDTHS for s in range(8))
    limits = tuple(run(1, s, 2.0) for s in range(8))
    measured = Measured({HPZ: runs}, {}, (), limits={HPZ: limits}, outputs={HPZ: outputs})
    return make_report(replace(trained(), **more), measured)


def test_of_two_widths_distances_are_said_without_a_slope():
    """At every seed |off| is off(m) |f| exactly: 30 and 20 %."""
    outputs = {
        step: {key: one for key, one in at.items() if key[0] != 1024}
        for step, at in outputs_of({4: lambda m: 0.3 if m == 64 else 0.2}).items()
    }
    runs = tuple(run(m, s, 2.0) for m in (64, 256) for s in range(8))
    measured = Measured({HPZ: runs}, {}, (), limits={HPZ: (run(1, 0, 2.0),)}, outputs={HPZ: outputs})
    found = make_report(replace(trained(), widths=(64, 256)), measured)
    assert not found.checks
    (note,) = found.measurements
    assert not [text for text in found.notes if "distance to the limit" in text]
    assert re.search(
        r"after 4 updates the outputs .* are 30 % \[.*\] at width 64, 20 % \[.*\] at width 256", note
    )
    assert "take 3 widths" in note


def test_outputs_are_compared_at_every_step_where_they_were_recorded():
    found = with_outputs(
        outputs_of({0: lambda m: 1.0, 1: lambda m: m**-0.5, 10: lambda m: 2 * m**-0.5}, 0.01)
    )
    first, last = (check for check in found.checks if check.kind == "LIMIT")
    assert (first.step, last.step, last.quantity) == (1, 10, "output_sketch")
    # The particles' own error of 1 % is taken out of the squares.
    expected = [(4 / m - 1e-4) ** 0.5 for m in WIDTHS]
    assert [point.value for point in last.points] == pytest.approx(expected, rel=1e-3)
    assert [point.variance for point in last.points] == pytest.approx([e**2 for e in expected], rel=0.2)
    assert all(abs(point.bias) < 0.1 * point.value**2 for point in last.points)
    assert last.sentence.startswith("after 10 updates at width 1,024 the outputs on the test set are 6.2 % [")
    assert "from those of infinite width" in last.sentence
    assert "5 % is reached at width m* = 1,5" in last.sentence
    assert "own error of f is 1 %" in last.sentence


def test_without_outputs_the_sentence_says_that_losses_are_compared():
    check = only(report(lambda m, s: (-1) ** s * 4 * m**-0.5))
    assert check.sentence.startswith("outputs were not recorded (record.probes {quantities: [outputs]})")
    assert (check.quantity, check.step) == ("", 0)


def test_diverged_networks_are_left_out_of_outputs_too():
    runs = tuple(replace(run(m, s, 2.0), diverged=s > 5) for m in WIDTHS for s in range(8))
    limits = tuple(run(1, s, 2.0) for s in range(8))
    outputs = outputs_of({10: lambda m: m**-0.5})
    found = make_report(
        trained(), Measured({HPZ: runs}, {}, (), limits={HPZ: limits}, outputs={HPZ: outputs})
    )
    assert only(found).seeds == 6


def test_networks_that_recorded_the_limit_of_their_own_start_need_none_beside_them():
    """D = 2 m^(-1/2) of what the machines have moved, .09; more of it with the width, which is no error."""
    rng, outputs = np.random.default_rng(0), {}
    for m in WIDTHS:
        for s in range(8):
            off = rng.standard_normal(128)
            off *= 2 * m**-0.5 * 0.3 / np.linalg.norm(off)
            outputs[m, s] = Outputs.paired([0.09, *off])
    runs = tuple(run(m, s, None) for m in WIDTHS for s in range(8))
    reason = {"hpz": "it starts from a random f_0"}
    found = make_report(
        replace(trained(), not_compared=reason),
        Measured({HPZ: runs}, {}, (), outputs={HPZ: {0: outputs, 10: outputs}}),
    )
    check = only(found)
    assert (check.step, check.quantity, check.seeds) == (10, "output_sketch", 8)
    assert [point.value for point in check.points] == pytest.approx([2 * m**-0.5 for m in WIDTHS])
    assert "kernel machines of infinite width that start from their own f_0" in check.sentence
    assert "5 % is reached at width m* = 1,600" in check.sentence
    assert not any("random f_0" in note for note in found.notes)


def test_a_limit_of_zero_and_one_that_starts_at_random_are_notes():
    at = outputs_of({10: lambda m: m**-0.5})[10]
    found = with_outputs({10: {key: replace(one, mean_square=1e-9, error=0.8) for key, one in at.items()}})
    assert not found.checks
    assert any("after 10 updates: outputs of the limit are 0" in note for note in found.notes)
    found = with_outputs(
        outputs_of({10: lambda m: m**-0.5}), not_compared={"hpz": "it starts from a random f_0"}
    )
    assert not found.checks
    assert any("random f_0" in note for note in found.notes)


def test_a_network_sixteen_times_wider_stands_for_infinite_width_and_its_variance_is_taken_out():
    far, seeds = 16384, range(24)
    outputs = {}
    for s in seeds:
        common = np.random.default_rng([1, s]).choice([-1.0, 1.0], 128) * 2 / 128**0.5
        for m in (*WIDTHS, far):
            own = np.random.default_rng([m, s]).standard_normal(128) * 4 * m**-0.5 / 128**0.5
            outputs[m, s] = Outputs(4.0 + 16 / m, common + own)
    runs = tuple(run(m, s, 2.0) for m in (*WIDTHS, far) for s in seeds)
    wide = replace(trained(), widths=(*WIDTHS, far))
    check = only(make_report(wide, Measured({HPZ: runs}, {}, (), outputs={HPZ: {10: outputs}})))
    # Relative to |f| = 2: D = 2 m^(-1/2), not sqrt(4 / m + 4 / far).
    assert [point.width for point in check.points] == [*WIDTHS]
    assert [point.value for point in check.points] == pytest.approx([2 * m**-0.5 for m in WIDTHS], rel=0.04)
    assert check.points[-1].value < 0.98 * (4 / 1024 + 4 / far) ** 0.5
    assert "from those of width 16,384, used in place of infinite width" in check.sentence
    assert re.search(r"its own distance from that, 1\.[56] %", check.sentence)  # 2 / 128
    near = replace(trained(), widths=(*WIDTHS, 8192))
    assert not make_report(near, Measured({HPZ: runs}, {}, (), outputs={HPZ: {10: outputs}})).checks


def test_without_limits_there_is_no_such_check():
    runs = tuple(run(m, s, 2.0) for m in WIDTHS for s in range(3))
    found = make_report(trained(), Measured({HPZ: runs}, {}, ()))
    assert not found.checks
    assert not any("limit" in note for note in found.notes)
