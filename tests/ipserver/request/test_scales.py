"""The trainer refuses no accepted run, also in packs with other runs."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ipcore.data import load_dataset
from ipcore.theory import PRESETS, Biases, RatePhase, custom, preset
from ipcore.training.trainer import Trainer
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_config, run_config
from ipserver.request.expand import expand
from ipserver.request.problems import Problems
from ipserver.request.scales import Axes, check_scales
from tests.ipserver.support import small_spec

DIGITS = load_dataset("digits")
three = st.lists(st.integers(-28, 28), min_size=3, max_size=3)
few = st.lists(st.integers(-15, 15), min_size=3, max_size=3)


@given(few, few, three, three, st.sampled_from([1e-30, 0.1, 1e30]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_passes_trains_beside_others(a, b, later, first, rate, calibrated):
    def texts(row):
        return [str(entry) for entry in row]

    # Rates in terms of the effective exponents e = -c - 2a, which decide whether they fit.
    c, c_first = ([-e - 2 * x for e, x in zip(row, a, strict=True)] for row in (later, first))
    given_ = {"a": texts(a), "b": texts(b), "c": texts(c), "c_first_step": texts(c_first)}
    mine = {"label": "mine", "exponents": given_, "base_learning_rates": [rate]}
    if calibrated:
        mine["calibration"] = {"cap": 1e10}
    spec = small_spec(grid={"parameterizations": [mine, {"preset": "mup"}], "seeds": [0]})
    entry = spec.grid.parameterizations[0]
    problems = Problems()
    value = custom(2, a, b, c, c_first)
    check_scales(entry, [value], "entry", Axes([16], [2], 32), [rate], problems)
    event(f"refused: {bool(problems.found)}")
    if problems.found:
        return

    runs = expand(spec)
    trainer = Trainer(pack_config(spec, runs[0]), [run_config(spec, run) for run in runs], DIGITS)
    assert all(bool(weight.isfinite().all()) for weight in trainer.network(0).weights)
    trainer.advance(max_steps=3)
    assert 1 not in trainer.diverged


@given(few, few, three, three, st.sampled_from([1e-30, 0.1, 1e30]), st.sampled_from([0.0, 1e-8, 1e8]))
@settings(max_examples=60, deadline=None)
def test_what_passes_trains_with_adam(a, b, rates, gradients, rate, epsilon):
    def texts(row):
        return [str(entry) for entry in row]

    # In terms of the effective exponents e = -c - a of rates and d - a of gradients, which decide what fits.
    c = [-e - x for e, x in zip(rates, a, strict=True)]
    d = [e + x for e, x in zip(gradients, a, strict=True)]
    given_ = {"a": texts(a), "b": texts(b), "c": texts(c), "d": texts(d)}
    mine = {"label": "mine", "exponents": given_, "base_learning_rates": [rate]}
    spec = small_spec(
        optimizer={"name": "adam", "epsilon": epsilon},
        grid={"parameterizations": [mine, {"preset": "mup"}], "seeds": [0]},
    )
    problems = Problems()
    axes = Axes([16], [2], 32, "adam")
    value = custom(2, a, b, c, d=d)
    check_scales(spec.grid.parameterizations[0], [value], "entry", axes, [rate], problems)
    event(f"refused: {bool(problems.found)}")
    if problems.found:
        return

    runs = expand(spec)
    trainer = Trainer(pack_config(spec, runs[0]), [run_config(spec, run) for run in runs], DIGITS)
    trainer.advance(max_steps=3)
    assert 1 not in trainer.diverged


def test_the_depth_at_which_large_first_rates_no_longer_fit():
    def refused(depth):
        problems = Problems()
        axes = Axes([2**16], [depth], 32)
        check_scales(
            pb.ParameterizationSpec(preset="ip-llr"),
            [preset("ip-llr", depth)],
            "entry",
            axes,
            [1.0],
            problems,
        )
        return [found.message for found in problems.found]

    # IP-LLR's first layer has the rate m^((L+1)/2) / B = 2^(8(L+1) - 5), and 1e36 is 2^119.6.
    assert refused(14) == []
    (message,) = refused(15)
    assert message.startswith("the rate of layer 1 with 15 hidden layers at step 0 is 0.03125 * 65536^(8)")


def test_biases_means_and_reweightings_have_numbers_of_their_own():
    zeros, thirty = (Fraction(0),) * 3, (Fraction(0), Fraction(30), Fraction(0))
    fast = (RatePhase(0, tuple(-entry for entry in thirty)),)
    plain = custom(2, zeros, zeros, zeros)
    odd = {
        "the rate of the bias of layer 2": replace(plain, biases=Biases(zeros, zeros, fast)),
        "the initial size of the bias of layer 2": replace(plain, biases=Biases(zeros, thirty, plain.phases)),
        "the mean of the initial weights times the multiplier of layer 2": replace(
            plain, mean=(None, *thirty[1:])
        ),
    }
    for said, value in odd.items():
        problems = Problems()
        entry = pb.ParameterizationSpec(preset="ip-bias")
        check_scales(entry, [value], "entry", Axes([16], [2], 1), [1.0], problems)
        assert [found.field for found in problems.found] == ["entry.preset"]
        assert problems.found[0].message.startswith(said)


def test_the_numbers_of_the_presets_fit_at_usual_sizes():
    problems = Problems()
    for name, known in PRESETS.items():
        entry = pb.ParameterizationSpec(preset=name)
        for depth in (1,) if known.largest_depth else (1, 6, 20):
            axes = Axes([16, 1024], [depth], 512)
            check_scales(entry, [preset(name, depth)], "entry", axes, [1e-4, 10.0], problems)
            if known.build_adam is not None:
                adam = preset(name, depth, optimizer="adam")
                axes = Axes([16, 1024], [depth], 512, "adam")
                check_scales(entry, [adam], "entry", axes, [1e-4, 10.0], problems)
    assert problems.found == []
