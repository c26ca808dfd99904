"""All studies, in the order of the page."""

from __future__ import annotations

from typing import Final

from reproduction import (
    activation_gap,
    authors_cifar,
    authors_mnist,
    authors_sweep,
    blocks,
    calibrated_rates,
    controlled,
    coordinate_check,
    deferred_weights,
    equivalence,
    finite_width,
    infinite_width,
    isolated_updates,
    largest_rates,
    orthogonalized,
    rate_transfer,
    relu,
    residual,
    stationarity,
    study_errors,
)
from reproduction.paper import contributions, curves, functions, kept_rates, ranks, second_steps
from reproduction.study import Study

STUDIES: Final[dict[str, Study]] = {
    study.name: study
    for study in (
        coordinate_check.STUDY,
        isolated_updates.STUDY,
        finite_width.STUDY,
        infinite_width.STUDY,
        infinite_width.DEEP,
        infinite_width.SIX,
        infinite_width.MNIST,
        activation_gap.STUDY,
        deferred_weights.STUDY,
        stationarity.STUDY,
        controlled.STUDY,
        orthogonalized.STUDY,
        blocks.STUDY,
        equivalence.STUDY,
        rate_transfer.STUDY,
        largest_rates.STUDY,
        residual.SQRT,
        residual.FULL,
        calibrated_rates.STUDY,
        authors_mnist.ROW,
        authors_mnist.METHODS,
        authors_cifar.STUDY,
        authors_sweep.MNIST,
        authors_sweep.CIFAR,
        relu.STUDY,
        relu.CONFIRMATION,
        relu.LONGER,
        curves.STUDY,
        contributions.STUDY,
        kept_rates.STUDY,
        second_steps.STUDY,
        ranks.STUDY,
        functions.STUDY,
        study_errors.STUDY_ERRORS,
    )
}
