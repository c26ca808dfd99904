"""A few faults on both databases, in every run of the tests; the whole matrix is `make faults`."""

import pytest

from tests.faults.scenarios import Scene, play

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.takes(60)]


@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)
def test_every_part_may_be_killed_in_turn(scene: Scene) -> None:
    play(
        scene,
        ("API killed", "after"),
        ("API killed while it extends", "after"),
        ("trainer killed", "during"),
        ("dispatcher killed", "after"),
        ("forwarder killed", "before"),
    )


@pytest.mark.postgres
@pytest.mark.parametrize("scene", ["postgresql"], indirect=True)
def test_the_store_may_be_cut_off_during_a_commit(scene: Scene) -> None:
    play(scene, ("store cut off", "during"), ("trainer killed at a checkpoint", "during"))
