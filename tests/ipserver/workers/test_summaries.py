"""Summaries: the best values, their steps, and the test metrics at these steps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.store.summary import Summary
from ipserver.workers.summaries import evaluated, fold


def history(*evaluations: dict[str, float], last: int = 99) -> Summary:
    """Evaluations after 0, 10, 20, ... updates; those at `last` are final."""
    summary = Summary()
    for i, values in enumerate(evaluations):
        summary = evaluated(summary, values, 10 * i, final=10 * i == last)
    return summary


def classes(validation_accuracy: float, validation_loss: float, test_accuracy: float) -> dict[str, float]:
    return {
        "validation_accuracy": validation_accuracy,
        "validation_loss": validation_loss,
        "test_accuracy": test_accuracy,
        "test_loss": 10 * test_accuracy,
    }


def test_the_first_of_the_largest_validation_accuracies_counts() -> None:
    found = history(classes(0.1, 2.3, 0.2), classes(0.8, 0.7, 0.75), classes(0.8, 0.6, 0.9), last=20)

    assert (found.best_validation_step, found.best_validation_accuracy) == (10, 0.8)
    assert (found.test_accuracy_at_best_validation, found.test_loss_at_best_validation) == (0.75, 7.5)
    # The smallest loss is reported with its step: 0.6 after 20 updates.
    assert (found.best_validation_loss, found.best_test_accuracy, found.final_test_accuracy) == (
        0.6,
        0.9,
        0.9,
    )


def test_without_accuracies_the_first_of_the_smallest_losses_counts() -> None:
    losses = [3.0, 1.0, 2.0, 1.0]
    found = history(*({"validation_loss": loss, "test_loss": 5 + i} for i, loss in enumerate(losses)))

    assert (found.best_validation_step, found.best_validation_loss) == (10, 1.0)
    assert found.test_loss_at_best_validation == 6.0
    assert found.best_validation_accuracy is found.test_accuracy_at_best_validation is None


def test_without_a_validation_set_nothing_is_said_of_it() -> None:
    found = history(
        {"test_loss": 2.0, "test_accuracy": 0.5}, {"test_loss": 1.0, "test_accuracy": 0.4}, last=10
    )

    assert found == Summary(
        best_test_loss=1.0, best_test_accuracy=0.5, final_test_loss=1.0, final_test_accuracy=0.4
    )


def test_a_loss_that_is_not_finite_does_not_hide_the_accuracy() -> None:
    # Such a loss is not recorded; the accuracy of the same state is.
    found = history({"validation_loss": 1.0, "validation_accuracy": 0.1}, {"validation_accuracy": 0.3})

    assert (found.best_validation_step, found.best_validation_loss) == (10, 1.0)
    assert found.test_loss_at_best_validation is None


def test_the_last_training_loss_is_the_newest() -> None:
    summaries = {7: Summary(), 8: Summary(last_train_loss=9.0)}
    fold(summaries, [(7, "train_loss", 1, 2.0), (7, "train_accuracy", 1, 0.5), (7, "train_loss", 2, 1.5)], 5)

    assert (summaries[7].last_train_loss, summaries[7].final_test_loss) == (1.5, None)
    assert summaries[8] == Summary(last_train_loss=9.0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_the_metrics_of_a_state_does_not_matter(order: tuple[int, ...]) -> None:
    rows = [
        (0, "test_accuracy", 10, 0.7),
        (0, "validation_accuracy", 10, 0.6),
        (0, "validation_loss", 10, 1.1),
    ]
    summaries = {0: Summary()}
    fold(summaries, [rows[i] for i in order], 10)

    assert summaries[0].test_accuracy_at_best_validation == summaries[0].final_test_accuracy == 0.7


@given(
    st.lists(st.tuples(*[st.sampled_from([0.1, 0.2, 0.3])] * 3), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_where_slices_end_does_not_matter(values: list[tuple[float, ...]], cuts: list[bool]) -> None:
    states = [
        [
            (0, name, step, value)
            for name, value in zip(
                ("test_loss", "validation_loss", "validation_accuracy"), state, strict=True
            )
        ]
        for step, state in enumerate(values)
    ]
    last = len(states) - 1
    whole, cut = {0: Summary()}, {0: Summary()}
    fold(whole, [row for state in states for row in state], last)
    pending: list[tuple[int, str, int, float]] = []
    for state, ends in zip(states, cuts, strict=False):
        pending += state
        if ends:
            fold(cut, pending, last)
            pending = []
    fold(cut, pending, last)

    assert cut == whole
    accuracies = [state[2] for state in values]
    assert whole[0].best_validation_step == accuracies.index(max(accuracies))
