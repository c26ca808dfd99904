"""The coordinate check on small real networks and on synthetic sizes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ipcore.analysis import Samples, Verdict, check_coordinates, judge
from ipcore.errors import AnalysisError
from ipcore.theory import analyze, preset
from tests.ipcore.analysis.networks import coordinates
from tests.ipcore.analysis.synthetic import WIDTHS, power, samples

MUP = preset("mup", 3)


@pytest.fixture(scope="module")
def mup_coordinates():
    return coordinates(MUP, (128, 256, 512), 6, eta=0.5, steps=2)


def made_up(analysis, steps, noise=0.01):
    """Sizes exactly as predicted."""
    found = {}
    for sizes in analysis.steps[: steps + 1]:
        first = sizes.step == 0
        quantity = "h" if first else "h_change"
        exponents = [*sizes.h, sizes.f] if first else [*sizes.h_change, sizes.f_change]
        for layer, exponent in enumerate(exponents, start=1):
            key = (quantity, layer, sizes.step)
            found[key] = samples(power(float(exponent)), noise=noise, key=[layer, sizes.step])
    return found


@pytest.mark.parametrize("name", ["mup", "ntk", "ip", "sp-stable"])
def test_sizes_as_predicted_agree(name):
    analysis = analyze(preset(name, 3), steps=3)
    report = check_coordinates(made_up(analysis, 3), analysis)
    assert report.verdict is Verdict.AGREES
    assert report.conclusion == "16 of 16 sizes agree"
    assert report.first is None
    assert [(c.step, c.layer) for c in report.coordinates] == [(t, i) for t in range(4) for i in range(1, 5)]


def test_what_would_decide_is_said():
    analysis = analyze(MUP, steps=1)
    report = check_coordinates(made_up(analysis, 1), analysis)
    agreeing, *others = report.coordinates[:5]

    def conclusion(*needed):
        undecided = [
            replace(c, verdict=Verdict.UNDECIDED, needed=n) for c, n in zip(others, needed, strict=True)
        ]
        return replace(report, coordinates=(agreeing, *undecided)).conclusion

    counts = "1 of 5 sizes agree, 4 undecided, none disagrees"
    some = "about 12 seeds would decide 1 of the 4 undecided ones, larger widths more"
    assert conclusion(20, None, 12, 0) == f"{counts}; {some}"
    assert (
        conclusion(12, 9, 12, 9)
        == f"{counts}; about 9 seeds would decide 2 of the 4 undecided ones, larger widths more"
    )
    assert conclusion(12, 12, 12, 12) == f"{counts}; about 12 seeds would decide 4 of the 4 undecided ones"
    assert conclusion(None, None, 0, None) == f"{counts}; larger widths would decide more"
    assert conclusion(None, None, None, None) == counts


def test_mup_networks_do_what_theory_says(mup_coordinates):
    report = check_coordinates(mup_coordinates, analyze(MUP, steps=2))
    assert report.first is None, report.conclusion
    hidden = [c for c in report.coordinates if c.layer <= 3]
    assert sum(c.verdict is Verdict.AGREES for c in hidden) >= len(hidden) - 2, [c.sentence for c in hidden]


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_one_wrong_multiplier_is_caught_and_its_layer_named(layer):
    """a_l is too small by 1/2 in one layer; muP was intended."""
    wrong = list(MUP.a)
    wrong[layer - 1] -= Fraction(1, 2)
    broken = replace(MUP, a=tuple(wrong))
    report = check_coordinates(
        coordinates(broken, (128, 256, 512), 6, eta=0.01, steps=1), analyze(MUP, steps=1)
    )
    assert report.verdict is Verdict.DISAGREES
    assert (report.first.layer, report.first.step) == (layer, 0)
    assert report.first.fit.slope.value == pytest.approx(0.5, abs=0.1)
    assert report.conclusion.startswith(f"layer {layer} disagrees from step 0: slope 0.")
    assert report.conclusion.endswith("predicted 0")


def test_a_wrong_rate_is_named_by_the_first_update():
    """c_3 is too small by 1: sizes at step 0 are right, the change of h^3 is not."""
    (phase,) = MUP.phases
    wrong = replace(phase, c=(*phase.c[:2], phase.c[2] - 1, phase.c[3]))
    broken = replace(MUP, phases=(wrong,))
    report = check_coordinates(
        coordinates(broken, (128, 256, 512), 6, eta=0.5, steps=1), analyze(MUP, steps=1)
    )
    assert (report.first.quantity, report.first.layer, report.first.step) == ("h_change", 3, 1)


def test_the_earliest_step_comes_before_the_lowest_layer():
    analysis = analyze(MUP, steps=2)
    half = Fraction(1, 2)
    report = check_coordinates(
        made_up(analysis, 2) | made_up_only({("h_change", 3, 1): half, ("h_change", 1, 2): half}),
        analysis,
    )
    assert (report.first.layer, report.first.step) == (3, 1)
    sentence = report.first.sentence
    assert sentence.startswith("change of h^3 at step 1 disagrees: slope 0.50 [")
    assert sentence.endswith("predicted 0 (tolerance 0.1), widths 128..1024, 6 seeds")


def made_up_only(exponents):
    return {key: samples(power(float(exponent)), noise=0.01) for key, exponent in exponents.items()}


def test_the_output_is_named_as_such():
    analysis = analyze(MUP, steps=1)
    report = check_coordinates(made_up(analysis, 1) | made_up_only({("h", 4, 0): Fraction(1)}), analysis)
    assert report.conclusion.startswith("the output disagrees from step 0: slope 1.0")


def test_bounds_are_said_to_be_bounds():
    analysis = analyze(preset("sp", 3), steps=2)
    assert not analysis.steps[2].exact
    report = check_coordinates({("h_change", 2, 2): samples(power(0.5))}, analysis)
    (found,) = report.coordinates
    assert (found.exact, found.verdict) == (False, Verdict.UNDECIDED)
    assert "predicted at most 5/2" in found.sentence
    assert report.verdict is Verdict.UNDECIDED


def test_too_small_a_size_is_said_to_be_perhaps_hidden():
    report = check_coordinates({("h_change", 1, 1): samples(power(-1), noise=0.01)}, analyze(MUP, steps=1))
    assert report.coordinates[0].sentence.endswith(
        "a small base rate can hide the leading term at these widths"
    )


def test_nothing_hides_in_an_initial_size():
    """h_0^l is one product: a slope below its exponent is wrong, even if its drift is uncertain."""
    data = samples(power(-0.45), noise=0.3, seeds=24)
    report = check_coordinates({("h", 2, 0): data}, analyze(MUP, steps=1))
    (found,) = report.coordinates
    assert found.verdict is Verdict.DISAGREES, found.sentence
    assert judge(found.fit, Fraction(0)).verdict is Verdict.UNDECIDED
    # With separate biases, or a mean, there are two terms.
    for name in ("ip-bias", "ip-non-centered"):
        report = check_coordinates({("h", 1, 0): data}, analyze(preset(name, 3), steps=1))
        assert report.coordinates[0].verdict is Verdict.UNDECIDED


def test_what_cannot_be_fitted_is_noted_and_the_rest_is_checked():
    analysis = analyze(MUP, steps=1)
    measured = {
        ("h", 1, 0): samples(power(0)),
        ("h", 2, 0): samples(power(0), widths=(64, 128)),
        ("h_change", 1, 1): Samples.of(dict.fromkeys(((m, 0) for m in WIDTHS), np.nan)),
        ("h_change", 2, 1): samples(lambda m: 0.0),
        ("x", 1, 0): samples(power(3)),
        ("h", 1, 1): samples(power(3)),
    }
    report = check_coordinates(measured, analysis)
    assert [c.name for c in report.coordinates] == ["h^1"]
    assert [note.split(":")[0] for note in report.notes] == [
        "h^2 at step 0",
        "change of h^1 at step 1",
        "change of h^2 at step 1",
    ]
    assert "all of them diverged" in report.notes[1]


@pytest.mark.parametrize(
    "values",
    [
        lambda data: np.zeros_like(data.values),  # a layer that is never updated
        lambda data: np.full_like(data.values, np.nan),  # everything diverged before
        lambda data: np.where(np.array(data.widths)[:, None] == 1024, np.nan, data.values),
        lambda data: np.where(np.arange(6) == 5, np.nan, data.values),
    ],
)
def test_the_rest_does_not_agree_where_something_is_missing(values):
    """Only surviving runs would make a parameterization that diverges at large widths look stable."""
    analysis = analyze(MUP, steps=1)
    measured = made_up(analysis, 1)
    data = measured["h_change", 2, 1]
    report = check_coordinates(
        measured | {("h_change", 2, 1): Samples(data.widths, data.seeds, values(data))}, analysis
    )
    verdicts = {c.verdict for c in report.coordinates if (c.layer, c.step) != (2, 1)}
    assert verdicts == {Verdict.AGREES}
    assert (report.verdict, report.gaps) == (Verdict.UNDECIDED, 1)
    assert report.conclusion.endswith("1 could not be checked, or not at all widths and seeds")


def test_sizes_at_initialization_alone_are_no_agreement():
    """SP and muP in Yang & Hu's gauge start alike in hidden layers; they differ by their rates."""
    analysis = analyze(MUP, steps=1)
    report = check_coordinates(made_up(analysis, 0), analysis)
    assert {c.verdict for c in report.coordinates} == {Verdict.AGREES}
    assert report.verdict is Verdict.UNDECIDED
    assert report.conclusion == "4 of 4 sizes agree; nothing was checked after an update"


def test_what_should_be_exactly_zero_and_is_not_is_no_agreement():
    exact = analyze(MUP, steps=1)
    still = replace(exact.steps[1], h_change=(Fraction(0), None, Fraction(0)))
    analysis = replace(exact, steps=(exact.steps[0], still))
    measured = made_up(exact, 1)
    zero = {("h_change", 2, 1): samples(lambda m: 0.0)}
    assert check_coordinates(measured | zero, analysis).verdict is Verdict.AGREES
    assert check_coordinates(measured, analysis).verdict is Verdict.UNDECIDED


def test_nothing_measured_is_no_agreement():
    report = check_coordinates({}, analyze(MUP, steps=1))
    assert (report.verdict, report.conclusion) == (Verdict.UNDECIDED, "nothing could be compared with theory")


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(AnalysisError, match=r"layer 5 does not exist: layers are 1 \.\. 4"):
        check_coordinates({("h", 5, 0): samples(power(0))}, analyze(MUP, steps=1))
