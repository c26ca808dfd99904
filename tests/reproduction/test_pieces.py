"""Studies in pieces go on where they stopped, and rates that reach a limit are interpolated."""

import math

import pytest

from reproduction.largest_rates import crossings, drift
from reproduction.pieces import Piece, resumed, seconds_spent
from reproduction.study import Measured, Result

SPEC = {"widths": [64, 128, 256], "seeds": 2, "limits": {"f": 8.0}}


def measured(name, value=1.0):
    return Measured(name, 2, 64, "relu", 0.5, 0, {"f": value})


def test_pieces_that_are_there_are_not_measured_again(tmp_path):
    made, done = [], []

    def piece(name):
        def measure():
            made.append(name)
            if name == "c" and len(made) == 3:
                raise KeyboardInterrupt
            return [measured(name)]

        return Piece(name, 1.0, measure)

    pieces = [piece(name) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        list(resumed("s", SPEC, pieces, done.append, tmp_path))
    (file,) = tmp_path.iterdir()
    with file.open("a") as draft:
        draft.write('["c", 1.0, [["c", 2')  # interrupted while it was written
    found = list(resumed("s", SPEC, pieces, done.append, tmp_path))
    assert [run.parameterization for run in found] == ["a", "b", "c"]
    assert made == ["a", "b", "c", "c"]
    assert done[-1] == 1
    assert found[0] == measured("a")
    assert seconds_spent("s", SPEC, tmp_path) >= 0
    # Another spec is another study.
    list(resumed("s", SPEC | {"seeds": 3}, pieces[:1], done.append, tmp_path))
    assert made[-1] == "a"


def test_the_rate_at_the_limit_moves_as_the_sizes_say():
    """|f| = rate m^(1/2) reaches 8 at rate 8 m^(-1/2)."""
    runs = tuple(
        Measured(
            "p", 2, m, "relu", 2.0 ** (i / 2), seed, {"f": 2.0 ** (i / 2) * math.sqrt(m)} if i < 4 else {}
        )
        for m in SPEC["widths"]
        for seed in range(2)
        for i in range(-8, 8)
    )
    result = Result("s", SPEC, "", "", 0.0, {}, runs)
    found = crossings(result, "p", "f")
    for m, row in zip(found.widths, found.values, strict=True):
        assert row == pytest.approx([8 / math.sqrt(m)] * 2)
    assert drift(result, "p", "f").value == pytest.approx(-0.5)
    few = Result("s", SPEC, "", "", 0.0, {}, tuple(run for run in runs if run.rate < 0.1))
    assert drift(few, "p", "f") == "not in the grid"
