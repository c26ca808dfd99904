from __future__ import annotations

import numpy as np
import pytest

from ipcore.randomness import (
    bias_normals,
    calibration_batches,
    epoch_batches,
    generator,
    output_signs,
    split_permutation,
    weight_normals,
)


def test_streams_are_fixed_for_ever():
    # Recorded once. If these change, published results cannot be reproduced.
    assert weight_normals(0, 1, (2, 2)).ravel() == pytest.approx(
        [-0.41070124727484153, 0.5191952657502099, -0.9613997098786414, -0.4718562758016319], abs=1e-12
    )
    assert epoch_batches(0, 0, 6, 3).tolist() == [[5, 2, 1], [4, 0, 3]]
    assert split_permutation("digits", 1797)[:4].tolist() == [246, 1354, 828, 1315]


def test_outputs_are_dealt_to_sums_evenly_with_fixed_signs():
    sums, signs = output_signs(300, 128)
    assert sums[:4].tolist() == [41, 74, 114, 45]
    assert signs[:4].tolist() == [-1, 1, 1, -1]
    assert set(np.bincount(sums)) == {2, 3}
    assert {*signs} == {-1.0, 1.0}
    assert abs(signs.sum()) < 4 * 300**0.5


@pytest.mark.parametrize("other", [(1, 2, (3, 4)), (0, 3, (3, 4)), (0, 2, (4, 3))])
def test_seed_layer_and_shape_each_give_other_normals(other):
    one, two = weight_normals(0, 2, (3, 4)), weight_normals(*other)
    assert not np.allclose(one.ravel(), two.ravel())


def test_normals_are_standard():
    z = weight_normals(7, 1, (500, 400))
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)
    assert not np.allclose(bias_normals(7, 1, 400), z[0])


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (7, 7), (60, 7), (60, 1), (60, 31)])
def test_an_epoch_shows_no_example_twice_and_drops_the_remainder(n: int, batch_size: int):
    batches = epoch_batches(3, 1, n, batch_size)
    assert batches.shape == (n // batch_size, batch_size)
    assert len(set(batches.ravel().tolist())) == batches.size


def test_epochs_and_seeds_have_other_permutations():
    assert not np.array_equal(epoch_batches(0, 0, 50, 50), epoch_batches(0, 1, 50, 50))
    assert not np.array_equal(epoch_batches(0, 0, 50, 50), epoch_batches(1, 0, 50, 50))


def test_calibration_batches_are_disjoint_where_they_can_be():
    one, two = calibration_batches(10, 5)
    assert sorted([*one, *two]) == list(range(10))
    one, two = calibration_batches(10, 10)
    assert sorted(one) == sorted(two) == list(range(10))


def test_word_and_number_keys_do_not_collide():
    assert generator("1").integers(2**62) != generator(1).integers(2**62)
