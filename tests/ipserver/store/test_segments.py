"""Metric segments decode to what was encoded."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.store.segments import decode, encode

METRICS = ("train_loss", "train_accuracy", "test_loss")
point = st.tuples(
    st.integers(0, 19_999),
    st.integers(0, len(METRICS) - 1),
    st.integers(0, 10_000_000),
    st.integers(0, 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(point, max_size=50))
def test_points_come_back_exactly(points):
    run, metric, step, time_ms, value = zip(*points, strict=True) if points else ((), (), (), (), ())
    back = decode(encode(run, metric, METRICS, step, time_ms, value))
    assert list(zip(back.run, back.metric, back.step, back.time_ms, back.value, strict=True)) == points
    assert len(back) == len(points)
    assert back.metrics == (METRICS if points else ())


def test_column_types_do_not_depend_on_the_input():
    back = decode(encode([1.0], [0], METRICS, np.array([2], np.int64), [3], [4]))
    columns = (back.run, back.metric, back.step, back.time_ms, back.value)
    assert [column.dtype for column in columns] == [np.int32, np.int32, np.int32, np.int64, np.float64]


def test_pandas_is_not_loaded():
    code = (
        "import sys\n"
        "from ipserver.store.segments import decode, encode, without\n"
        "assert decode(without(encode([0, 1], [0, 0], ['loss'], [1, 1], [0, 0], [2, 3]), {0})).value == [3]\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_points_are_no_bytes():
    assert encode([], [], METRICS, [], [], []) == b""
    assert len(decode(b"")) == 0


def test_a_repetitive_block_is_small():
    n = 6400
    data = encode(np.arange(n) % 64, np.zeros(n), METRICS, np.arange(n) // 64, np.full(n, 7), np.ones(n))
    assert len(data) < n * 28 / 5


@pytest.mark.parametrize("columns", [([1], [3], [1], [1], [1.0]), ([1, 2], [0], [1], [1], [1.0])])
def test_columns_that_do_not_fit_are_refused(columns):
    run, metric, step, time_ms, value = columns
    with pytest.raises(ValueError, match=r"metric indices|same length|length"):
        encode(run, metric, METRICS, step, time_ms, value)
