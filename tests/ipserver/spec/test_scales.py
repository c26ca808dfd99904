"""Whatever is accepted trains beside other runs: the trainer refuses none of it."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ipcore.data import load_dataset
from ipcore.theory import custom, preset
from ipcore.trainer import Trainer
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.convert import pack_config, run_config
from ipserver.spec.expand import expand
from ipserver.spec.problems import Problems
from ipserver.spec.scales import Axes, check_scales
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


def test_the_numbers_of_the_presets_fit_at_usual_sizes():
    problems = Problems()
    for name in ("sp", "ntk", "mup", "ip", "ip-llr"):
        entry = pb.ParameterizationSpec(preset=name)
        for depth in (1, 6, 20):
            axes = Axes([16, 1024], [depth], 512)
            check_scales(entry, [preset(name, depth)], "entry", axes, [1e-4, 10.0], problems)
    assert problems.found == []
