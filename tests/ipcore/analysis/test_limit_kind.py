"""Final test losses beside those of infinite width: distances, slopes, widths needed, by hand."""

import numpy as np
import pytest

from ipcore import theory
from ipcore.analysis.case import Measured, Run, Trained
from ipcore.analysis.report import Subject
from ipcore.analysis.reporting import make_report

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


def test_without_limits_there_is_no_such_check():
    runs = tuple(run(m, s, 2.0) for m in WIDTHS for s in range(3))
    found = make_report(trained(), Measured({HPZ: runs}, {}, ()))
    assert not found.checks
    assert not any("limit" in note for note in found.notes)
