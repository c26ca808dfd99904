"""Which points are recorded at which steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.catalogue import METRICS
from ipcore.config import PackConfig, Probes
from ipcore.training.recording import (
    Recorder,
    metric_names,
    points_per_run,
    probes_due,
    test_metrics_due,
    training_metrics_due,
)

CONFIG = PackConfig("digits", 2, 8, "relu", 4, steps=20, metrics_interval=5)
test_metrics_due.__test__ = False  # a function of ours, not a test


def test_probes_are_due_at_their_steps_and_at_multiples_of_their_interval():
    def due(**settings) -> list[int]:
        config = replace(CONFIG, probes=Probes(("kernels",), **settings))
        return [step for step in range(21) if probes_due(config, step)]

    assert due(steps=(0, 3, 20)) == [0, 3, 20]
    assert due(interval=8) == [0, 8, 16]
    assert due(steps=(1, 8), interval=8) == [0, 1, 8, 16]
    assert not probes_due(CONFIG, 0)


def test_names_follow_the_configuration():
    plain = tuple(name for name in METRICS if not name.startswith("validation"))
    assert metric_names(CONFIG) == plain
    assert metric_names(replace(CONFIG, validation_size=5)) == METRICS
    probed = replace(CONFIG, probes=Probes(("kernels",), layers=(2, 3), interval=1))
    assert metric_names(probed) == (*plain, "cka/2")


@given(
    steps=st.integers(1, 40),
    metrics=st.integers(1, 45),
    evaluation=st.integers(0, 45),
    validation=st.sampled_from([0, 7]),
    interval=st.integers(0, 45),
    chosen=st.lists(st.integers(0, 40), max_size=4),
)
def test_points_per_run_counts_what_is_due(steps, metrics, evaluation, validation, interval, chosen):
    probes = Probes(("coordinates",), steps=tuple(min(step, steps) for step in chosen), interval=interval)
    config = replace(
        CONFIG, steps=steps, metrics_interval=metrics, evaluation_interval=evaluation,
        validation_size=validation, probes=probes,
    )  # fmt: skip
    expected = 0
    for step in range(steps + 1):
        expected += 2 * training_metrics_due(config, step)
        expected += (4 if validation else 2) * test_metrics_due(config, step)
        expected += 10 * probes_due(config, step)  # h and h_change in 3 layers, x and x_change in 2
    assert points_per_run(config) == expected


def test_points_of_many_steps_are_counted_at_once():
    config = replace(CONFIG, steps=10**7, metrics_interval=1, probes=Probes(("kernels",), interval=2))
    assert points_per_run(config) == 2 * 10**7 + 4 + 2 * (5 * 10**6 + 1)


def test_a_recorder_orders_by_step_and_name_and_leaves_out_what_does_not_count():
    recorder = Recorder(["a", "h/1", "h/2"])
    recorder.add("h/2", 3, 30, np.array([1.0, 2.0]))
    recorder.add("h/1", 3, 31, np.array([np.inf, 4.0]))
    recorder.add("a", 2, 20, np.array([5.0, np.nan]))
    points = recorder.points(last_step=np.array([3, 2]))
    assert list(points.rows()) == [(0, "a", 2, 5.0), (0, "h/2", 3, 1.0)]
    assert points.time_ms.tolist() == [20, 30]
    with pytest.raises(KeyError):
        recorder.add("h/9", 3, 30, np.array([1.0, 2.0]))
